// The one stream of events: opened, watched, opened again; what the views want of it.
const QUIET = 9000;
const REST = 5000;
const ROOM = 4; // streams of one browser, which has six connections for a host
const listeners = {};

/** What is known of the pipeline now; `refused`: status and words of the last answer that was no stream. */
export const state = { hello: null, blocks: [], states: [], troubles: [], connected: false, refused: null, paused: false, heard: Date.now() };

let stream = new AbortController();
let tried = Date.now();
let timer = 0;
let retry = 1000;
let resting = false;
let newer = new Set();
const me = Math.random();
const windows = new BroadcastChannel("pages");
let offset = 0;
let wanted = {};
let pending = 0;

/** Call each listener at each event of its name; returns the way out. */
export function on(mine) {
  const all = Object.entries(mine);
  for (const [name, listener] of all) (listeners[name] ??= new Set()).add(listener);
  return () => all.forEach(([name, listener]) => listeners[name].delete(listener));
}

function emit(name, value) {
  for (const listener of listeners[name] ?? []) listener(value);
}

/** The pipeline's wall clock, seconds since 1970. */
export const now = () => Date.now() / 1000 + offset;

/** What the stream should bring: `w` blocks in sight, `m` values, `o` the open one, `q` search, `v` kinds, `n` node, `c` lines. */
export function want(changes) {
  wanted = { ...wanted, ...changes };
  clearTimeout(pending);
  pending = setTimeout(send, 30);
}

async function send() {
  if (!state.hello?.id || !state.connected) return;
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(wanted)) {
    if (key === "c") for (const line of value()) query.append("c", line);
    else if (value !== null && String(value) !== "") query.append(key, value);
  }
  try {
    const response = await fetch(`/api/live/${state.hello.id}?${query}`, { method: "POST" });
    if (response.ok) emit("found", (await response.json()).found);
  } catch {
    // The stream tells of the lost connection.
  }
}

/** Show what the document itself brought. */
export function begin() {
  receive(JSON.parse(document.getElementById("first").textContent));
}

/** Open the stream, and keep it open while the page can be seen. */
export async function open() {
  stream.abort();
  clearTimeout(timer);
  resting = document.hidden;
  if (resting) return;
  newer = new Set();
  windows.postMessage({ open: me });
  state.paused = false;
  const mine = (stream = new AbortController());
  tried = Date.now();
  let refused = null;
  try {
    const answer = await fetch("/api/live", { signal: mine.signal, cache: "no-store" });
    if (answer.ok) await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    else refused = { status: answer.status, words: (await answer.text()).trim() };
  } catch {
    // Not reached, or the connection is lost.
  }
  if (mine !== stream || mine.signal.aborted) return;
  lose(refused);
  // Who asks again and again with a password that is no longer good is taken for a guesser.
  if (refused?.status === 401) return;
  timer = setTimeout(open, retry);
  retry = Math.min(retry * 1.6, 10000);
}

async function read(reader) {
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) receive(JSON.parse(event.slice(event.indexOf("data: ") + 6)));
  }
}

function lose(refused = null) {
  state.connected = false;
  state.refused = refused;
  emit("lost");
}

function receive(told) {
  state.heard = Date.now();
  offset = told.t - Date.now() / 1000;
  if (told.hello) {
    const before = state.hello;
    state.hello = told.hello;
    state.connected = true;
    retry = 1000;
    emit("hello", before);
    send();
  }
  if (told.blocks) {
    state.blocks = told.blocks;
    state.states = told.blocks.map(() => ["fresh", ""]);
  }
  for (const [number, ...judged] of told.states ?? []) state.states[number] = judged;
  if (told.troubles) state.troubles = told.troubles;
  if (told.blocks) emit("blocks");
  if (told.states || told.troubles || told.blocks) emit("states");
  for (const kind of ["seen", "nodes", "node", "frames", "log", "lines"]) if (told[kind]) emit(kind, told[kind]);
}

/** Look whether the stream still says something; a pulled cable does not. */
export function watch() {
  const silent = Date.now() - Math.max(state.heard, tried);
  if (resting || silent < QUIET || state.refused?.status === 401) return;
  tried = Date.now();
  lose(state.refused);
  open();
}

/** A page that nobody sees gives its connection back: a browser has six for a host. */
export function seen() {
  clearTimeout(pending);
  if (document.hidden) {
    pending = setTimeout(rest, REST);
  } else if (!wake()) {
    watch();
    send();
  }
}

function rest() {
  resting = true;
  windows.postMessage({ shut: me });
  stream.abort();
  clearTimeout(timer);
}

/** Go on after a rest; whether there was one. */
function wake() {
  const was = resting;
  if (was) open();
  return was;
}

// Of many windows side by side the latest go on; the others wait until one is closed, or they are clicked.
windows.onmessage = ({ data: { open: opened, shut, gone } }) => {
  if (opened) newer.add(opened);
  newer.delete(shut ?? gone);
  if (newer.size >= ROOM && !resting) {
    rest();
    state.paused = true;
    lose();
  } else if (gone && newer.size < ROOM && state.paused) wake();
};
addEventListener("pagehide", () => windows.postMessage({ gone: me }));
for (const name of ["focus", "pointerdown", "keydown"]) addEventListener(name, wake);

// The one stream of events: opened, watched, opened again; what the views want of it.
const QUIET = 9000;
const listeners = {};

/** What is known of the pipeline now. */
export const state = { hello: null, blocks: [], states: [], troubles: [], connected: false, refused: false, heard: Date.now() };

let source = null;
let retry = 1000;
let offset = 0;
let wanted = {};
let pending = 0;

/** Call `listener` at each event of this name; returns the way out. */
export function on(name, listener) {
  (listeners[name] ??= new Set()).add(listener);
  return () => listeners[name].delete(listener);
}

function emit(name, value) {
  for (const listener of listeners[name] ?? []) listener(value);
}

/** The pipeline's wall clock, seconds since 1970. */
export const now = () => Date.now() / 1000 + offset;

/** Say what the stream should bring: `w` blocks in sight, `o` the open one, `q` a search, `v` kinds, `c` lines. */
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
    else if (value !== null && value !== "" && String(value) !== "") query.append(key, value);
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

/** Open the stream, and keep it open. */
export function open() {
  source?.close();
  source = new EventSource("/api/live");
  source.onmessage = (event) => receive(JSON.parse(event.data));
  source.onerror = () => {
    const closed = source.readyState === EventSource.CLOSED;
    lose();
    if (closed) {
      // Refused: a browser doesn't try again by itself.
      setTimeout(open, retry);
      retry = Math.min(retry * 1.6, 10000);
    }
  };
}

function lose() {
  if (state.connected) {
    state.connected = false;
    emit("lost");
  }
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
  for (const kind of ["seen", "nodes", "log", "lines"]) if (told[kind]) emit(kind, told[kind]);
  emit("told");
}

/** Look whether the stream still says something; a pulled cable does not. */
export function watch() {
  if (Date.now() - state.heard > QUIET) {
    lose();
    state.heard = Date.now() - QUIET / 2;
    open();
  }
}

// The graph as it runs: nodes in layers from left to right (top down on a phone), rates on the edges, details by click.
import { ask, count, exact, h, look, moment, put, shown, size, span, svg, t, tool } from "./dom.js";
import { now, on, state, want } from "./live.js";

const WIDTH = 196;
const NARROW = 104;
const HEIGHT = 74;
const GAP = { along: 92, across: 28 };
const FRAMES = 6;
const STRETCH = 60;
const ENOUGH = 10;

/** Layers of names and of bends where an edge passes a layer; ordered so that few edges cross. */
function layered(nodes, edges) {
  const depth = new Map(nodes.map(({ name }) => [name, 0]));
  for (const { name } of nodes) {
    for (const [from, to] of edges) if (to === name) depth.set(name, Math.max(depth.get(name), depth.get(from) + 1));
  }
  const layers = [];
  const put = (layer, item) => (layers[layer] ??= []).push(item);
  for (const { name } of nodes) put(depth.get(name), { name, from: [] });
  const paths = edges.map(([from, to]) => {
    const path = [from];
    for (let layer = depth.get(from) + 1; layer < depth.get(to); layer++) {
      const bend = `${from}→${to}@${layer}`;
      put(layer, { name: bend, bend: true, from: [path.at(-1)] });
      path.push(bend);
    }
    layers[depth.get(to)].find(({ name }) => name === to).from.push(path.at(-1));
    return [...path, to];
  });
  for (let layer = 1; layer < layers.length; layer++) {
    const order = new Map(layers[layer - 1].map(({ name }, index) => [name, index]));
    const middle = ({ from }) => from.reduce((sum, name) => sum + (order.get(name) ?? 0), 0) / Math.max(1, from.length);
    layers[layer].sort((a, b) => middle(a) - middle(b));
  }
  return { layers, paths };
}

/** Where everything stands, in pixels; top down, the nodes of the fullest layer share the room that is there. */
function placed({ layers }, upright, room) {
  const spots = new Map();
  const gap = upright ? 10 : GAP.across;
  const most = Math.max(1, ...layers.map((layer) => layer.filter(({ bend }) => !bend).length));
  const across = upright ? Math.max(NARROW, Math.min(WIDTH, (room - gap * (most - 1)) / most)) : HEIGHT;
  const long = (item) => (item.bend ? 24 : across) + gap;
  const lengths = layers.map((layer) => layer.reduce((sum, item) => sum + long(item), -gap));
  const widest = Math.max(...lengths, 0);
  const step = (upright ? HEIGHT + 54 : WIDTH + GAP.along);
  layers.forEach((layer, number) => {
    let at = (widest - lengths[number]) / 2;
    for (const item of layer) {
      const thick = long(item) - gap;
      spots.set(item.name, upright
        ? { x: at, y: number * step, w: thick, h: HEIGHT }
        : { x: number * step, y: at, w: WIDTH, h: thick });
      at += long(item);
    }
  });
  const along = layers.length * step - (upright ? 54 : GAP.along);
  return { spots, width: upright ? widest : along, height: upright ? along : widest };
}

function curve(path, spots, upright) {
  let line = "";
  for (let n = 1; n < path.length; n++) {
    const a = spots.get(path[n - 1]);
    const b = spots.get(path[n]);
    const [x1, y1] = upright ? [a.x + a.w / 2, a.y + a.h] : [a.x + a.w, a.y + a.h / 2];
    const [x2, y2] = upright ? [b.x + b.w / 2, b.y] : [b.x, b.y + b.h / 2];
    const bend = (upright ? y2 - y1 : x2 - x1) / 2;
    line += `${n === 1 ? "M" : "L"}${x1} ${y1}`;
    line += upright ? `C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}` : `C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  }
  return line;
}

/** Show the view. */
export function show(place, rest) {
  const canvas = h("div", { class: "canvas", "aria-label": t("The graph"), role: "group" });
  const services = h("div", { class: "services" });
  const drawing = h("div", { class: "drawing" }, canvas, services);
  const side = h("div", { class: "side" });
  place.append(drawing, side);
  const buttons = new Map();
  const rates = new Map();
  const before = new Map();
  const facts = new Map();
  let graph = null;
  let chosen = "";
  let drawn = "";
  let panel = () => {};

  function draw() {
    const flowing = graph.nodes.filter(({ section, enabled }) => section !== "services" && enabled);
    const upright = place.clientWidth < 720;
    const room = upright ? drawing.clientWidth - 14 : 0;
    // A panel that opens beside it moves nothing, so the buttons stay and keep the focus.
    if (drawn === `${upright} ${room}`) return;
    drawn = `${upright} ${room}`;
    const map = layered(flowing, graph.edges);
    const { spots, width, height } = placed(map, upright, room);
    const lines = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    rates.clear();
    map.paths.forEach((path) => {
      const first = spots.get(path[0]);
      const second = spots.get(path[1]);
      lines.append(svg("path", { class: "edge", d: curve(path, spots, upright) }));
      const label = svg("text", upright
        ? { class: "rate", x: (first.x + first.w / 2 + second.x + second.w / 2) / 2 + 8, y: (first.y + first.h + second.y) / 2 + 4 }
        : { class: "rate", x: (first.x + first.w + second.x) / 2, y: (first.y + first.h / 2 + second.y + second.h / 2) / 2 - 7, "text-anchor": "middle" });
      lines.append(label);
      rates.set(label, path[0]);
    });
    canvas.replaceChildren(lines, ...flowing.map((node) => box(node, spots.get(node.name))));
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const helpers = graph.nodes.filter(({ section, enabled }) => section === "services" && enabled);
    services.replaceChildren(...(helpers.length ? [h("h2", {}, t("Services")), ...helpers.map((node) => box(node))] : []));
    for (const name of facts.keys()) paint(name);
    mark();
  }

  function mark() {
    for (const [each, { button }] of buttons) button.setAttribute("aria-expanded", String(each === chosen));
  }

  function box(node, spot) {
    const state = h("span", { class: "state" });
    const detail = h("span", { class: "detail" });
    const button = h("button", { class: `node of-${node.section}`, "aria-label": `${node.name}, ${node.type}`, onclick: () => choose(node.name) }, h("span", { class: "line" }, node.type, state), h("strong", {}, node.name), detail);
    if (spot) {
      button.style.left = `${spot.x}px`;
      button.style.top = `${spot.y}px`;
      button.style.width = `${spot.w}px`;
      button.style.height = `${spot.h}px`;
    }
    buttons.set(node.name, { button, state, detail });
    return button;
  }

  function paint(name) {
    const found = facts.get(name);
    const shows = buttons.get(name);
    if (!found || !shows) return;
    const { button, state, detail } = shows;
    const all = Object.values(found.parts).reduce((sum, n) => sum + n, 0);
    const well = found.parts.running ?? 0;
    button.classList.remove("fresh", "stale", "failing", "idle");
    button.classList.add(well && well < all && found.state === "backing_off" ? "stale" : look(found.state));
    put(state, all > 1 ? `${well}/${all}` : t(found.state));
    const lost = Object.values(found.drops).reduce((sum, n) => sum + n, 0);
    const waits = found.details?.backlog_frames;
    put(detail, [waits ? `${waits} ${t("waiting")}` : "", lost ? `${lost} ${t("dropped")}` : "", found.errors ? `${found.errors} ${t("errors")}` : ""].filter(Boolean).join(" · "));
    button.title = [detail.textContent, found.reason].filter(Boolean).join("\n");
  }

  function take(nodes) {
    for (const each of nodes) {
      facts.set(each.n, each);
      paint(each.n);
    }
    measure();
  }

  /** Frames a second at each edge: over five seconds, or as long as it takes ten frames to leave their giver. */
  function measure() {
    const moment = now();
    for (const [name, { frames }] of facts) {
      if (frames === null) continue;
      if (!before.has(name)) before.set(name, []);
      const past = before.get(name);
      past.push([moment, frames]);
      while (moment - past[0][0] > STRETCH) past.shift();
    }
    for (const [label, name] of rates) {
      const past = before.get(name);
      if (!past) continue;
      const [end, last] = past.at(-1);
      // Of a slow one the mean since the start, until it was watched for long enough.
      const slow = end - past[0][0] > STRETCH - 10 ? past[0] : [state.hello.started, 0];
      const [begin, first] = past.findLast(([ts, frames]) => end - ts >= 5 && last - frames >= ENOUGH) ?? slow;
      const rate = (last - first) / (end - begin);
      if (end - begin >= 1) put(label, rate && rate < 0.1 ? `${count(rate * 60)}/min` : `${count(rate)}/s`);
    }
  }

  function choose(name) {
    history.replaceState(null, "", `#graph?node=${encodeURIComponent(name)}`);
    panel();
    chosen = name;
    mark();
    panel = inspect(side, name, close);
  }

  function close() {
    history.replaceState(null, "", "#graph");
    panel();
    panel = () => {};
    buttons.get(chosen)?.button.focus();
    chosen = "";
    mark();
  }

  const seen = new ResizeObserver(() => graph && draw());
  async function load() {
    try {
      graph = await ask("/api/graph");
    } catch {
      return; // asked for again when the stream is back
    }
    drawn = "";
    buttons.clear();
    draw();
    if (chosen && !runs(chosen)) close(); // another graph has been loaded
    seen.observe(place);
    go(rest);
  }

  const runs = (name) => graph.nodes.some((node) => node.name === name && node.enabled);

  function go(text) {
    const name = new URLSearchParams(text).get("node");
    if (graph && name && name !== chosen && runs(name)) choose(name);
  }
  const asked = ({ detail }) => go(detail);
  place.addEventListener("rest", asked);
  const off = on({ nodes: take, hello: () => (before.clear(), load()) });
  const timer = setInterval(measure, 1000);
  want({ v: "nodes" });
  load();
  return () => {
    panel();
    seen.disconnect();
    place.removeEventListener("rest", asked);
    clearInterval(timer);
    off();
  };
}

/** The panel of one node, kept up by the stream; returns the way to close it. */
function inspect(side, name, close) {
  const body = h("div", { class: "scroll" });
  const frames = h("div", { class: "frames" }, h("p", { class: "sub" }, t("No frame yet")));
  const panel = h("section", { class: "panel", "aria-label": name, tabindex: "-1" }, h("header", {}, h("h2", {}, name), tool("✕", t("Close"), close)), body);
  panel.addEventListener("keydown", (event) => event.key === "Escape" && (event.stopPropagation(), close()));
  side.replaceChildren(panel);
  panel.focus({ preventScroll: true });
  if (matchMedia("(max-width: 60rem)").matches) panel.scrollIntoView({ block: "start", behavior: "smooth" });
  const parts = {};
  let known = {};
  let latest = [];

  /** Only what says something else is made anew: the rest can be read and selected meanwhile. */
  function take(news) {
    if (news.name !== name) return;
    const node = (known = { ...known, ...news });
    if (!node.options) return;
    for (const [key, [told, make]] of Object.entries(described(node))) {
      if (!parts[key]) body.append((parts[key] = h("div")));
      const said = JSON.stringify(told);
      if (parts[key].said !== said) parts[key].replaceChildren(...make());
      parts[key].said = said;
    }
    if (node.section !== "services" && !frames.isConnected) body.append(h("h3", {}, t("Latest frames")), frames);
  }
  const off = on({
    node: take,
    frames(passed) {
      latest = [...passed.reverse(), ...latest].slice(0, FRAMES);
      frames.replaceChildren(...latest.map(frame));
    },
  });
  want({ n: name });
  return () => {
    off();
    want({ n: "" });
    panel.remove();
  };
}

/** The panel's parts: what each tells, and how it is made. */
function described(node) {
  const { actors, counters, errors, options } = node;
  const many = actors.length > 1;
  return {
    about: [node.about, () => [h("p", { class: "sub" }, `${t(node.section)} · ${node.type} · ${t("line {n} of the file", { n: node.line })}`), h("p", {}, node.about)]],
    state: [actors, () => [h("h3", {}, t(many ? "Parts" : "State")), h("ul", { class: "parts" }, actors.map((actor) => part(actor, many)))]],
    counters: [counters, () => (Object.keys(counters).length ? [h("h3", {}, t("Counters")), h("dl", {}, facts(counters))] : [])],
    options: [options, () => [h("h3", {}, t("Options")), Object.keys(options).length ? h("pre", { class: "options" }, yaml(options)) : h("p", { class: "sub" }, t("none"))]],
    errors: [errors, () => [h("h3", {}, t("Last errors")), errors.length ? h("ul", { class: "errors" }, errors.map(({ ts, reason, name }) => h("li", {}, h("time", {}, moment(ts)), many ? h("strong", {}, name.split("/").at(-1)) : null, reason))) : h("p", { class: "sub" }, t("none"))]],
  };
}

function part(actor, named) {
  const lost = Object.entries(actor.drops).map(([reason, n]) => t("{n} dropped: {reason}", { n, reason }));
  const more = [actor.errors ? `${actor.errors} ${t("errors")}` : "", ...lost].filter(Boolean).join(" · ");
  return h(
    "li",
    {},
    h("span", { class: `pill ${look(actor.state)}` }, t(actor.state)),
    named ? h("strong", {}, actor.name.split("/").at(-1)) : null,
    h("span", { class: "sub" }, `${t("since")} ${moment(actor.since)}${more ? ` · ${more}` : ""}`),
    actor.reason && actor.state !== "running" ? h("p", { class: "trouble" }, actor.reason) : null,
  );
}

/** Details that operators tell of themselves, by what their names end with. */
function facts(details) {
  return Object.entries(details)
    .filter(([, value]) => value !== null && value !== "" && !(typeof value === "object" && !Object.keys(value).length))
    .map(([key, value]) => {
      const name = key.replace(/_seconds$/, "").replaceAll("_", " ");
      let text = shown(value);
      if (typeof value === "number" && key.endsWith("seconds")) text = span(value);
      else if (typeof value === "number" && key.endsWith("bytes")) text = size(value);
      else if (typeof value === "object") {
        const pairs = Array.isArray(value) ? value.map(String) : Object.entries(value).map(([k, v]) => `${k}: ${v}`);
        text = pairs.slice(0, 8).join(", ") + (pairs.length > 8 ? `, … (${pairs.length})` : "");
      }
      return h("div", {}, h("dt", {}, t(name)), h("dd", {}, text));
    });
}

/** Options as they would stand in the file. */
function yaml(value, margin = "") {
  const plain = (item) => (typeof item === "string" && !/^[\w./{}:+-][\w./{}:+ -]*$/.test(item) ? JSON.stringify(item) : String(item));
  return Object.entries(value)
    .map(([key, item]) => {
      if (Array.isArray(item) && item.some((each) => typeof each === "object")) {
        return `${margin}${key}:\n${item.map((each) => `${margin}  - ${JSON.stringify(each)}`).join("\n")}`;
      }
      if (Array.isArray(item)) return `${margin}${key}: [${item.map(plain).join(", ")}]`;
      if (item && typeof item === "object") return `${margin}${key}:\n${yaml(item, `${margin}  `)}`;
      return `${margin}${key}: ${plain(item)}`;
    })
    .join("\n");
}

function frame({ ts, of, v, n, e }) {
  const text = v.map(([key, value]) => `${key}=${shown(exact(value))}`).join("  ") + (n > v.length ? `  … (${n})` : "");
  return h("p", {}, h("time", {}, moment(ts)), h("strong", {}, of), h("code", {}, e ? `${e}  ${text}` : text));
}

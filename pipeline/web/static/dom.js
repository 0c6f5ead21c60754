// Elements, texts in the page's language, and numbers as people read them.
const words = JSON.parse(document.getElementById("words").textContent);
export const lang = document.documentElement.lang;

/** A text in the page's language; `{name}` is filled in. */
export const t = (text, more = {}) => (words[text] ?? text).replace(/\{(\w+)\}/g, (whole, key) => more[key] ?? whole);

/** An element. Properties: attributes, `on…` listeners, `class`; children: nodes or text, never markup. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A small button; its title is said to screen readers too. */
export const tool = (label, title, onclick) => h("button", { class: "tool", title, "aria-label": title, onclick }, label);

/** Change an element's text only when it differs, so that nothing is drawn for nothing. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const decimals = new Intl.NumberFormat(lang, { maximumSignificantDigits: 6, useGrouping: false });
const fixed = Array.from({ length: 7 }, (_, n) => new Intl.NumberFormat(lang, { minimumFractionDigits: n, maximumFractionDigits: n, useGrouping: false }));
const point = decimals.format(0.1)[1];
const tenths = new Intl.NumberFormat(lang, { maximumFractionDigits: 1, useGrouping: false });

/** An integer with more digits than a number holds comes as text in a list. */
export const exact = (value) => (Array.isArray(value) ? BigInt(value[0]) : value);

/** A value of a frame; with `digits` after the point where its row has decided on that. */
export function shown(value, digits) {
  if (typeof value !== "number") return String(value ?? "–");
  const size = Math.abs(value);
  if (Number.isSafeInteger(value) && (digits === undefined || size >= 1e9)) return String(value);
  if (size >= 1e9 || (size && size < (digits === undefined ? 1e-4 : 10 ** -digits / 2))) return value.toExponential(4).replace(".", point);
  return (fixed[size >= 1e6 ? 0 : digits] ?? decimals).format(value);
}

/** A count or rate, with one decimal below a hundred. */
export const count = (value) => (Math.abs(value) < 100 ? tenths.format(value) : String(Math.round(value)));

/** A time span as it is read at a glance: `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`. */
export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "∞";
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)} min ${two(whole % 60)} s` : `${whole / 60} min`;
  if (whole < 86400) return whole % 3600 < 60 ? `${Math.floor(whole / 3600)} h` : `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  const hours = Math.floor((whole % 86400) / 3600);
  return hours ? `${Math.floor(whole / 86400)} d ${hours} h` : `${Math.floor(whole / 86400)} d`;
}

/** Bytes. */
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  for (; bytes >= 1024 && power < 4; power++) bytes /= 1024;
  return `${count(bytes)} ${units[power]}`;
}

const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
export const clock = new Intl.DateTimeFormat(lang, time);
const dated = new Intl.DateTimeFormat(lang, { month: "2-digit", day: "2-digit", ...time });

/** A moment, with its day unless it is today. */
export function moment(seconds) {
  const date = new Date(seconds * 1000);
  return (date.toDateString() === new Date().toDateString() ? clock : dated).format(date);
}

/** Say something once, to eyes and screen readers; `bad` stays longer. */
export function say(text, bad = false) {
  const place = document.getElementById("said");
  const note = h("p", { class: bad ? "note bad" : "note" }, text);
  place.append(note);
  setTimeout(() => note.remove(), bad ? 12000 : 5000);
}

/** Say why something did not work. */
export const failed = ({ message: reason }) => say(t("That did not work: {reason}", { reason }), true);

/** The colour of a part's state. */
export const look = (state) => ({ running: "fresh", degraded: "stale", backing_off: "failing" })[state] ?? "idle";

/** Ask the pipeline; the answer as JSON, or an error with its words. */
export async function ask(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(30000), ...options });
  if (!response.ok) throw new Error((await response.text()).trim().slice(0, 500) || response.statusText);
  return response.json();
}

/** The path of a sparkline in a box of 72 by 20, in steps for bits; gaps where values are absent. */
export function spark(values, steps) {
  const known = values.filter((value) => typeof value === "number");
  if (known.length < 2) return "";
  const low = Math.min(...known);
  const range = Math.max(...known) - low;
  const step = 72 / (values.length - 1);
  let path = "";
  let drawing = false;
  values.forEach((value, index) => {
    if (typeof value !== "number") {
      drawing = false;
      return;
    }
    const y = range ? 18 - ((value - low) / range) * 16 : 10;
    const [x, at] = [(index * step).toFixed(1), y.toFixed(1)];
    path += drawing && steps ? `H${x}V${at}` : `${drawing ? "L" : "M"}${x} ${at}`;
    drawing = true;
  });
  return path;
}

// The page: its views, header and keys. Each view is a module with `show(place, rest)`, which returns the way out.
import { clock, failed, h, lang, put, say, span, svg, t, tool } from "./dom.js";
import { begin, now, on, open, seen, state, want, watch } from "./live.js";
import { wrong } from "./overview.js";

const VIEWS = ["overview", "graph", "charts", "journal", "log", "config"];
const THEMES = ["automatic", "light", "dark"];
const place = document.getElementById("view");
const health = document.getElementById("health");
const lost = document.getElementById("lost");
const parameters = new URLSearchParams(location.search);
const kiosk = parameters.has("kiosk");
let leave = () => {};
let shows = "";
let going = "";
let tries = 0;
let away = false;

async function route() {
  const [name, rest = ""] = location.hash.slice(1).split("?");
  const view = VIEWS.includes(name) ? name : "overview";
  if (view === shows) {
    place.dispatchEvent(new CustomEvent("rest", { detail: rest }));
    return;
  }
  going = view;
  let module;
  try {
    // A browser may remember that an address has failed, so it is asked for under another one.
    module = await import(`./${view}.js${tries ? `?${tries}` : ""}`);
  } catch {
    tries += 1;
    if (going === view) failed({ message: t("connecting") });
    return; // tried again when the stream is back
  }
  if (going !== view || shows === view) return;
  shows = view;
  document.querySelector("dialog")?.close();
  leave();
  for (const each of VIEWS) {
    const tab = document.getElementById(`tab-${each}`);
    if (each === view) {
      tab.setAttribute("aria-current", "page");
      tab.scrollIntoView({ block: "nearest", inline: "center" });
    } else tab.removeAttribute("aria-current");
  }
  place.replaceChildren();
  place.className = view;
  want({ w: "", m: "", o: "", q: "", v: "", n: "", c: () => [] });
  leave = module.show(place, rest);
  document.title = `${t(view)} · ${document.querySelector("h1").textContent}`;
  window.scrollTo(0, 0);
}

function judge() {
  if (!state.connected) return;
  const { text, look } = wrong();
  put(health, text || t("All is well"));
  health.className = `pill ${look}`;
}

function tick() {
  watch();
  if (state.connected) {
    health.title = t("running for {age}", { age: span(now() - state.hello.started) });
  } else if (away) {
    const { status, words: reason } = state.refused ?? {};
    const age = span((Date.now() - state.heard) / 1000);
    if (state.paused) put(lost, t("Paused: other windows of this browser show the pipeline. Click to go on."));
    else if (status !== 401) put(lost, reason ? t("The pipeline refuses this page: {reason}. Trying again.", { reason }) : t("Connection to the pipeline lost {age} ago; what you see is old. Trying again.", { age }));
    else if (!lost.querySelector("button")) lost.replaceChildren(t("The login has changed."), " ", h("button", { class: "quiet", onclick: () => location.reload() }, t("Log in again")));
  }
}

on({
  lost() {
    away = true;
    lost.hidden = false;
    document.body.classList.add("away");
    put(health, t("connecting"));
    health.className = "pill idle";
    tick();
  },
  hello(before) {
    if (away) say(t(before && before.boot !== state.hello.boot ? "The pipeline has been restarted" : "Connected again"));
    away = false;
    lost.hidden = true;
    document.body.classList.remove("away");
    if (going && going !== shows) route();
    if (before && before.version !== state.hello.version) location.reload();
  },
  states: judge,
});

// header

function tools() {
  const icon = (d) => svg("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, svg("path", { d }));
  const dark = document.getElementById("dark");
  const theme = () => ({ all: "dark", "not all": "light" })[dark.media] ?? "automatic";
  const themes = tool(icon("M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12"), "", () => {
    const next = THEMES[(THEMES.indexOf(theme()) + 1) % 3];
    dark.media = { dark: "all", light: "not all" }[next] ?? "(prefers-color-scheme:dark)";
    document.cookie = `theme=${next};path=/;max-age=31536000;samesite=strict`;
    named();
    place.dispatchEvent(new CustomEvent("theme"));
  });
  const named = () => {
    themes.title = t(`Theme: ${theme()}`);
    themes.setAttribute("aria-label", themes.title);
  };
  named();
  const [label, other] = lang === "en" ? ["PT", "pt-BR"] : ["EN", "en"];
  return [
    tool(label, t("Language"), () => go("lang", other)),
    themes,
    tool(icon("M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"), t("Wall display"), () => go("kiosk", "")),
  ];
}

/** The page with one parameter changed, or taken away by null. */
function go(key, value) {
  if (value === null) parameters.delete(key);
  else parameters.set(key, value);
  location.assign(address());
}

function address() {
  const text = parameters.toString().replace(/=(?=&|$)/g, "");
  return `/${text ? `?${text}` : ""}${location.hash}`;
}

function keys(event) {
  const typing = event.target.closest("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (typing) typing.blur();
    else if (kiosk && !document.querySelector("dialog[open], .panel")) go("kiosk", null);
  } else if (!typing && event.key >= "1" && event.key <= "6") {
    location.hash = `#${VIEWS[event.key - 1]}`;
  } else if (!typing && event.key === "/") {
    const search = place.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
}

if (kiosk) {
  document.body.classList.add("kiosk");
  const time = h("time", { class: "clock" });
  document.getElementById("tools").append(time, tool("✕", t("Leave the wall display"), () => go("kiosk", null)));
  const scale = () => (document.documentElement.style.fontSize = `${Math.max(13, Math.sqrt(innerWidth * innerHeight) / 72)}px`);
  scale();
  addEventListener("resize", scale);
  const show = () => put(time, clock.format(new Date()));
  show();
  setInterval(show, 1000);
} else {
  document.getElementById("tools").append(...tools());
}
if (parameters.has("lang")) {
  // The choice is kept by the server, so that the address stays short.
  parameters.delete("lang");
  history.replaceState(null, "", address());
}
addEventListener("hashchange", route);
addEventListener("keydown", keys);
addEventListener("visibilitychange", seen);
setInterval(tick, 1000);
await route();
begin();
open();
// So that each view opens also while the connection is lost.
setTimeout(() => VIEWS.map((view) => import(`./${view}.js`).catch(() => {})), 1500);

// The page: its views, header and keys. Each view is a module with `show(place, rest)`, which returns the way out.
import { h, lang, put, say, span, svg, t } from "./dom.js";
import { begin, now, on, open, state, want, watch } from "./live.js";

const VIEWS = ["overview", "graph", "charts", "journal", "log", "config"];
const THEMES = ["automatic", "light", "dark"];
const place = document.getElementById("view");
const health = document.getElementById("health");
const lost = document.getElementById("lost");
const parameters = new URLSearchParams(location.search);
const kiosk = parameters.has("kiosk");
let leave = () => {};
let shows = "";
let away = 0;

async function route() {
  const [name, rest = ""] = location.hash.slice(1).split("?");
  const view = VIEWS.includes(name) ? name : "overview";
  if (view === shows) {
    place.dispatchEvent(new CustomEvent("rest", { detail: rest }));
    return;
  }
  shows = view;
  const module = await import(`./${view}.js`);
  if (shows !== view) return;
  leave();
  for (const each of VIEWS) {
    const tab = document.getElementById(`tab-${each}`);
    if (each === view) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  place.replaceChildren();
  place.className = view;
  want({ w: "", o: "", q: "", v: "", c: () => [] });
  leave = module.show(place, rest);
  document.title = `${t(view)} · ${document.querySelector("h1").textContent}`;
  window.scrollTo(0, 0);
}

function judge() {
  if (!state.connected) return;
  const failing = state.states.filter(([how]) => how === "failing").length;
  const stale = state.states.filter(([how]) => how === "stale").length;
  const sick = state.troubles.filter(([, how, why]) => !state.states.some(([, advice]) => advice && advice === why)).length;
  const n = failing + stale + sick;
  put(health, n ? t(n === 1 ? "{n} needs attention" : "{n} need attention", { n }) : t("All is well"));
  health.className = `pill ${n ? (failing || sick ? "failing" : "stale") : "fresh"}`;
}

function tick() {
  watch();
  if (state.connected) {
    health.title = t("running for {age}", { age: span(now() - state.hello.started) });
  } else if (away) {
    const age = span((Date.now() - away) / 1000);
    put(lost, t("Connection to the pipeline lost {age} ago; what you see is old. Trying again.", { age }));
  }
}

on("lost", () => {
  away ||= Date.now();
  lost.hidden = false;
  document.body.classList.add("away");
  put(health, t("connecting"));
  health.className = "pill idle";
  tick();
});
on("hello", (before) => {
  if (away) say(t(before && before.boot !== state.hello.boot ? "The pipeline has been restarted" : "Connected again"));
  away = 0;
  lost.hidden = true;
  document.body.classList.remove("away");
  if (before && before.version !== state.hello.version) location.reload();
});
on("states", judge);

// header

function tools() {
  const tool = (label, title, action) => h("button", { class: "tool", title, "aria-label": title, onclick: action }, label);
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
  const other = lang === "en" ? "pt-BR" : "en";
  return [
    tool(lang === "en" ? "PT" : "EN", t("Language"), () => go({ lang: other })),
    themes,
    tool(icon("M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"), t("Wall display"), () => go({ kiosk: "" })),
  ];
}

function go(changes) {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) query.delete(key);
    else query.set(key, value);
  }
  const text = query.toString().replace(/=(?=&|$)/g, "");
  location.assign(`/${text ? `?${text}` : ""}${location.hash}`);
}

function keys(event) {
  const typing = event.target.closest("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (typing) typing.blur();
    else if (kiosk && !document.querySelector("dialog[open], .panel")) go({ kiosk: null });
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
  document.getElementById("tools").append(time);
  const format = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const show = () => put(time, format.format(new Date()));
  show();
  setInterval(show, 1000);
} else {
  document.getElementById("tools").append(...tools());
}
if (parameters.has("lang")) {
  // The choice is kept by the server, so that the address stays short.
  parameters.delete("lang");
  const rest = parameters.toString().replace(/=(?=&|$)/g, "");
  history.replaceState(null, "", `/${rest ? `?${rest}` : ""}${location.hash}`);
}
addEventListener("hashchange", route);
addEventListener("keydown", keys);
addEventListener("visibilitychange", () => document.hidden || watch());
setInterval(tick, 1000);
await route();
begin();
open();

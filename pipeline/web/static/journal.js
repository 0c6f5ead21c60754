// Journals: what waits, since when, how long there is room, how fast it drains; what was refused for good, and again.
import { ask, count, h, moment, put, say, shown, size, span, t } from "./dom.js";
import { now, on, state, want } from "./live.js";

const STRETCH = 20;

/** Show the view. */
export function show(place) {
  const sinks = new Map();
  const empty = h("p", { class: "empty" }, t("Loading"));
  place.append(empty);
  const off = [
    on("nodes", (nodes) => {
      for (const node of nodes) {
        if (node.details?.backlog_frames === undefined) continue;
        if (!sinks.has(node.n)) {
          sinks.set(node.n, sink(node.n));
          place.append(sinks.get(node.n).root);
        }
        sinks.get(node.n).take(node);
      }
      empty.hidden = sinks.size > 0;
      put(empty, t("No sink of this graph has a journal."));
    }),
  ];
  const timer = setInterval(() => sinks.forEach((each) => each.tick()), 1000);
  want({ v: "nodes" });
  return () => {
    clearInterval(timer);
    off.forEach((out) => out());
  };
}

function sink(name) {
  const pill = h("span", { class: "pill" });
  const trouble = h("p", { class: "trouble", hidden: true });
  const flow = h("p", { class: "flow" });
  const numbers = {};
  const number = (key, title = "") => h("div", { class: "figure", title }, (numbers[key] = h("strong", {}, "–")), h("span", {}, t(key)));
  const letters = h("div", { class: "letters", hidden: true });
  const folder = h("span", { class: "sub" });
  const root = h(
    "section",
    { class: "sink", "aria-label": name },
    h("header", {}, h("h2", {}, name), pill, folder),
    trouble,
    h("div", { class: "figures" }, number("frames wait"), number("oldest"), number("headroom", t("Time until frames are lost if the receiver stays away")), number("on disk"), number("in flight"), number("acknowledged"), number("dead letters")),
    flow,
    letters,
  );
  const past = [];
  let latest = null;
  let shownDead = 0;

  return {
    root,
    take(node) {
      latest = node;
      const details = node.details;
      const looks = { running: "fresh", degraded: "stale", backing_off: "failing" };
      root.className = `sink ${looks[node.state] ?? "idle"}`;
      pill.className = `pill ${looks[node.state] ?? "idle"}`;
      put(pill, t(node.state));
      put(folder, `${t("folder")} ${details.journal_path}`);
      trouble.hidden = !(node.reason || details.trouble);
      put(trouble, node.reason || details.trouble);
      put(numbers["frames wait"], shown(details.backlog_frames));
      put(numbers.oldest, details.backlog_frames ? span(details.backlog_oldest_age_seconds) : "–");
      put(numbers.headroom, span(details.backlog_headroom_seconds));
      put(numbers["on disk"], size(details.journal_bytes));
      put(numbers["in flight"], shown(details.in_flight));
      put(numbers.acknowledged, shown(node.acknowledged));
      put(numbers["dead letters"], shown(details.dead_letters));
      numbers["dead letters"].parentElement.classList.toggle("bad", details.dead_letters > 0);
      numbers["frames wait"].parentElement.classList.toggle("much", details.backlog_frames > 0);
      if (details.dead_letters !== shownDead) {
        shownDead = details.dead_letters;
        list(name, letters);
      }
    },
    tick() {
      if (!latest) return;
      const waits = latest.details.backlog_frames;
      past.push([now(), waits]);
      while (past.length > 2 && now() - past[0][0] > STRETCH) past.shift();
      const seconds = past.at(-1)[0] - past[0][0];
      const speed = seconds > 1 ? (past[0][1] - waits) / seconds : 0;
      if (!waits) put(flow, t("nothing waits"));
      else if (speed > 0.05) put(flow, t("drains at {rate}, empty in {age}", { rate: `${count(speed)}/s`, age: span(waits / speed) }));
      else if (speed < -0.05) put(flow, t("grows by {rate}", { rate: `${count(-speed)}/s` }));
      else put(flow, t("neither grows nor drains"));
    },
  };
}

async function list(name, place) {
  let dead;
  try {
    dead = await ask(`/api/dead/${encodeURIComponent(name)}`);
  } catch (error) {
    place.hidden = false;
    place.replaceChildren(h("p", { class: "trouble" }, error.message));
    return;
  }
  place.hidden = !dead.length;
  const allowed = state.hello?.login;
  const again = async (ids) => {
    try {
      const query = ids.map((id) => `id=${id}`).join("&");
      const { requeued } = await ask(`/api/requeue/${encodeURIComponent(name)}?${query}`, { method: "POST" });
      say(t("{n} are sent again", { n: requeued }));
      list(name, place);
    } catch (error) {
      say(t("That did not work: {reason}", { reason: error.message }), true);
    }
  };
  place.replaceChildren(
    h("div", { class: "bar" }, h("h3", {}, t("dead letters")), h("span", { class: "grow" }), allowed ? h("button", { onclick: () => again([]) }, t("Send all again")) : null),
    ...(allowed ? [] : [h("p", { class: "sub" }, t("Set http.token or http.users to send them again from here, or use: pipeline journal requeue"))]),
    h(
      "div",
      { class: "wide" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", {}, t("refused")), h("th", {}, t("reason")), h("th", {}, t("topic")), h("th", {}, t("frames")), h("th", {}))),
        h(
          "tbody",
          {},
          dead.map((letter) =>
            h("tr", {}, h("td", {}, moment(letter.refused ?? 0)), h("td", { class: "why" }, letter.reason ?? ""), h("td", {}, letter.topic), h("td", {}, h("details", {}, h("summary", {}, `${letter.body.slice(0, 60)}…`), h("code", {}, letter.body))), h("td", {}, allowed && letter.topic ? h("button", { class: "quiet", onclick: () => again([letter.id]) }, t("Send again")) : null)),
          ),
        ),
      ),
    ),
  );
}

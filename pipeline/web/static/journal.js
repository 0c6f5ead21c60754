// Journals: what waits, since when, how long there is room, how fast it drains; what was refused for good, and again.
import { ask, count, failed, h, look, moment, put, say, shown, size, span, t } from "./dom.js";
import { now, on, state, want } from "./live.js";

const STRETCH = 20;
const PAGE = 25;

/** Show the view. */
export function show(place) {
  const sinks = new Map();
  const empty = h("p", { class: "empty" }, t("Loading"));
  place.append(empty);
  const off = on({
    nodes(nodes) {
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
    },
  });
  const timer = setInterval(() => sinks.forEach((each) => each.tick()), 1000);
  want({ v: "nodes" });
  return () => {
    clearInterval(timer);
    off();
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
  const dead = listed(name, letters);

  return {
    root,
    take(node) {
      latest = node;
      const details = node.details;
      root.className = `sink ${look(node.state)}`;
      pill.className = `pill ${look(node.state)}`;
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
      dead(details.dead_letters ?? 0);
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

/** The oldest dead letters: what is listed stays as it is, whatever comes; more by a button. */
function listed(name, place) {
  const rows = new Map();
  const told = h("span", { class: "sub" });
  const body = h("tbody");
  const more = h("button", { class: "quiet", onclick: () => load(rows.size + PAGE) }, t("Show more"));
  const allowed = state.hello?.login;
  let all = 0;
  let loading = false;
  const head = [t("refused"), t("reason"), t("topic"), t("frames"), ""].map((each) => h("th", {}, each));
  place.append(
    h("div", { class: "bar" }, h("h3", {}, t("dead letters")), told, h("span", { class: "grow" }), allowed ? h("button", { onclick: () => again([]) }, t("Send all again")) : null),
    allowed ? "" : h("p", { class: "sub" }, t("Set http.token or http.users to send them again from here, or use: pipeline journal requeue")),
    h("div", { class: "wide" }, h("table", {}, h("thead", {}, h("tr", {}, head)), body)),
    more,
  );

  function tell() {
    place.hidden = !all;
    more.hidden = rows.size >= all;
    put(told, rows.size < all ? t("the oldest {n} of {all}", { n: rows.size, all }) : "");
  }

  async function load(limit) {
    if (loading) return;
    loading = true;
    try {
      for (const letter of await ask(`/api/dead/${encodeURIComponent(name)}?limit=${limit}`)) {
        if (rows.has(letter.id)) continue;
        rows.set(letter.id, row(letter));
        body.append(rows.get(letter.id));
      }
    } catch (error) {
      failed(error);
    }
    loading = false;
    tell();
  }

  function row(letter) {
    const resend = allowed && letter.topic ? h("button", { class: "quiet", onclick: () => again([letter.id]) }, t("Send again")) : null;
    const cells = [moment(letter.refused ?? 0), h("span", { class: "why" }, letter.reason ?? ""), letter.topic, h("details", {}, h("summary", {}, `${letter.body.slice(0, 60)}…`), h("code", {}, letter.body)), resend];
    return h("tr", {}, cells.map((cell) => h("td", {}, cell)));
  }

  function clear(ids) {
    for (const id of ids) {
      rows.get(id)?.remove();
      rows.delete(id);
    }
  }

  async function again(ids) {
    try {
      const query = ids.map((id) => `id=${id}`).join("&");
      const { requeued, remaining } = await ask(`/api/requeue/${encodeURIComponent(name)}?${query}`, { method: "POST" });
      say(t(remaining && !ids.length ? "{n} are sent again, {rest} remain: send again for the next" : "{n} are sent again", { n: requeued, rest: remaining }));
      clear(ids.length ? ids : [...rows.keys()]);
      all = remaining;
      if (all) load(PAGE);
      tell();
    } catch (error) {
      failed(error);
    }
  }

  return (count) => {
    if (count === all) return;
    all = count;
    // Sent again or removed by somebody else.
    if (all < rows.size) clear([...rows.keys()]);
    if (all && !rows.size) load(PAGE);
    tell();
  };
}

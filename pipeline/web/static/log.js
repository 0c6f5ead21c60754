// The log: the latest events, newest first, by node, level and words.
import { h, moment, put, shown, t } from "./dom.js";
import { on, want } from "./live.js";

const KEPT = 1000;
const LEVELS = { debug: 10, info: 20, warning: 30, error: 40, critical: 50 };
const CHOICES = { 0: "debug and above", 20: "info and above", 30: "warnings and errors", 40: "errors only" };

/** Show the view. */
export function show(place) {
  const rows = [];
  const known = new Set();
  const level = h("select", { "aria-label": t("Level"), onchange: sift }, Object.entries(CHOICES).map(([value, text]) => h("option", { value, selected: value === "20" }, t(text))));
  const node = h("select", { "aria-label": t("Node"), onchange: sift }, h("option", { value: "" }, t("all nodes")));
  const search = h("input", { type: "search", placeholder: t("Search events"), "aria-label": t("Search events"), oninput: sift });
  const list = h("ol", { class: "events" });
  const empty = h("p", { class: "empty" }, t("No event yet."));
  place.append(h("div", { class: "bar" }, search, level, node), list, empty, h("p", { class: "sub hint" }, t("Newest first; the latest thousand are kept.")));

  function matches(event) {
    const text = search.value.trim().toLowerCase();
    const mine = !node.value || event.node === node.value || event.node.startsWith(`${node.value}/`);
    return mine && (LEVELS[event.level] ?? 20) >= Number(level.value) && (!text || event.text.includes(text));
  }

  function sift() {
    for (const { event, root } of rows) root.hidden = !matches(event);
    tell();
  }

  function tell() {
    empty.hidden = rows.some(({ root }) => !root.hidden);
    put(empty, t(rows.length ? "Nothing matches." : "No event yet."));
  }

  function line(event) {
    const more = Object.entries(event.more).filter(([key]) => key !== "exception");
    return h(
      "li",
      { class: event.level, hidden: !matches(event) },
      h("time", { title: new Date(event.ts * 1000).toISOString() }, moment(event.ts)),
      h("span", { class: "level" }, t(event.level)),
      h("span", { class: "who" }, event.node),
      h("span", { class: "what" }, h("strong", {}, event.event), ...more.map(([key, value]) => [" ", h("span", { class: "pair" }, h("i", {}, `${key} `), shown(value))]).flat(), event.more.exception ? h("details", {}, h("summary", {}, "traceback"), h("pre", {}, event.more.exception)) : null),
    );
  }

  function take(events) {
    for (const event of events) {
      event.text = `${event.event} ${event.node} ${Object.values(event.more).join(" ")}`.toLowerCase();
      const name = event.node.split("/")[0];
      if (name && !known.has(name)) {
        known.add(name);
        node.append(h("option", { value: name }, name));
      }
      const root = line(event);
      rows.unshift({ event, root });
      list.prepend(root);
    }
    for (const { root } of rows.splice(KEPT)) root.remove();
    tell();
  }

  want({ v: "log" });
  return on({
    log: take,
    hello(before) {
      if (!before) return;
      // A new stream tells everything again.
      rows.length = 0;
      list.replaceChildren();
    },
  });
}

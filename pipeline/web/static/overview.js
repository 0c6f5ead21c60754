// Overview: what needs attention, then a card per PLC and block. Only cards in sight are asked for.
import { ask, h, put, say, shown, span, spark, svg, t } from "./dom.js";
import { now, on, state, want } from "./live.js";
import { openBlock } from "./block.js";

const SPARKS = 60;
const CARD = 8;
const STRIP_FROM = 13;

/** A row of a card or table: name, sparkline, value, unit; `set` shows a value. */
export function row(key, name, unit, history) {
  const path = svg("path", { d: spark(history) });
  const value = h("td", { class: "value" });
  const chart = h(
    "a",
    { class: "spark", href: `#charts?s=${encodeURIComponent(`${key}|${name}`)}`, tabindex: "-1", "aria-label": t("Show {name} in a chart", { name }) },
    svg("svg", { viewBox: "0 0 72 20", preserveAspectRatio: "none", "aria-hidden": "true" }, path),
  );
  const root = h("tr", {}, h("th", { scope: "row", title: name }, h("bdi", {}, name)), h("td", {}, chart), value, h("td", { class: "unit", title: unit }, unit));
  const past = history.slice(-SPARKS);
  return {
    root,
    set(now, bad) {
      root.classList.toggle("bad", bad !== undefined);
      root.classList.toggle("bit", typeof now === "boolean");
      root.classList.toggle("on", now === true);
      root.classList.toggle("text", typeof now === "string" || bad !== undefined);
      put(value, bad ?? shown(now));
      value.title = bad ?? (typeof now === "string" ? now : "");
    },
    remember(now) {
      if (typeof now === "string") return;
      past.push(now === null ? null : Number(now));
      if (past.length > SPARKS) past.shift();
      path.setAttribute("d", spark(past));
    },
  };
}

/** What a block's rows show: taken from the stream's `seen`. */
export class Rows {
  constructor(key, table) {
    this.key = key;
    this.table = table;
    this.ts = 0;
    this.sampled = 0;
    this.rows = [];
    this.values = [];
    this.bad = {};
  }

  take(seen) {
    this.ts = seen.ts;
    if (seen.n) {
      this.values = seen.v;
      this.names = seen.n;
      this.of = seen.of;
      this.rows = seen.n.map((name, n) => row(this.key, name, seen.u[n], (seen.sparks[n] ?? []).map((v) => (v === null ? null : Number(v)))));
      this.table.replaceChildren(...this.rows.map(({ root }) => root));
    }
    for (let n = 0; n < (seen.d ?? []).length; n += 2) this.values[seen.d[n]] = seen.d[n + 1];
    if (seen.bad) this.bad = seen.bad;
    this.rows.forEach((each, n) => each.set(this.values[n], this.bad[n]));
    if (this.ts - this.sampled >= (state.hello?.period ?? 1) * 0.9) {
      if (this.sampled) this.rows.forEach((each, n) => each.remember(n in this.bad ? null : this.values[n]));
      this.sampled = this.ts;
    }
  }
}

function card(block, number) {
  const body = h("tbody", {}, Array.from({ length: block.r || 1 }, () => h("tr", { class: "blank" }, h("td", { colspan: "4" }, " "))));
  const age = h("span", { class: "age" });
  const pill = h("span", { class: "pill" });
  const trouble = h("p", { class: "trouble", hidden: true });
  const more = h("button", { class: "more", hidden: true, onclick: () => openBlock(number) });
  const title = h("button", { class: "title", "aria-label": t("Show all values of {name}", { name: block.n }), onclick: () => openBlock(number) }, block.n);
  const root = h(
    "article",
    { class: "card", id: `block-${number}`, "data-number": number },
    h("header", {}, h("h3", {}, title), pill, h("p", { class: "sub", title: block.s }, block.s)),
    trouble,
    h("table", {}, body),
    h("footer", {}, age, more),
  );
  const rows = new Rows(block.k, body);
  let whole = false;
  return {
    root,
    take(seen) {
      // While the block's dialog is open the stream brings all of its values; the card stays as it is.
      if (seen.n) whole = seen.n.length > Math.max(block.r, CARD);
      if (whole) {
        rows.ts = seen.ts;
        return;
      }
      rows.take(seen);
      more.hidden = rows.of <= rows.rows.length;
      put(more, t("all {n} values", { n: rows.of }));
    },
    judge() {
      const [how, advice] = state.states[number];
      root.className = `card ${how}`;
      pill.className = `pill ${how}`;
      put(pill, t(how));
      trouble.hidden = !advice;
      put(trouble, advice);
    },
    tick() {
      const [how] = state.states[number];
      put(age, rows.ts ? t("{age} ago", { age: span(now() - rows.ts) }) : how === "failing" ? t("never read") : "");
    },
  };
}

/** What needs attention, each reason once. */
function wrong() {
  const reasons = new Map();
  const told = (why, name, link) => {
    if (!reasons.has(why)) reasons.set(why, []);
    reasons.get(why).push([name, link]);
  };
  state.states.forEach(([how, advice], n) => {
    if (how === "failing") told(advice, state.blocks[n].n, n);
    else if (how === "stale") told(t("stale"), `${state.blocks[n].n} ${state.blocks[n].b}`, n);
  });
  for (const [name, how, why] of state.troubles) {
    if (!why || !reasons.has(why)) told(why || t(how), name, null);
  }
  return [...reasons];
}

function attention(place) {
  const found = wrong();
  place.hidden = !found.length;
  place.replaceChildren(
    ...found.map(([why, names]) => {
      const links = names.slice(0, 6).map(([name, n], index) => [
        index ? ", " : "",
        n === null ? h("strong", {}, name) : h("a", { href: "#overview", onclick: (event) => reveal(event, n) }, name),
      ]);
      return h("li", {}, h("span", { class: "who" }, links, names.length > 6 ? ` … (${names.length})` : ""), h("span", { class: "why" }, why));
    }),
  );
}

function reveal(event, number) {
  event.preventDefault();
  const found = document.getElementById(`block-${number}`);
  if (!found) return;
  found.scrollIntoView({ block: "center", behavior: "smooth" });
  found.querySelector(".title").focus({ preventScroll: true });
}

async function snapshot() {
  try {
    say(t("Written: {path}", { path: (await ask("/api/snapshot", { method: "POST" })).recording }));
  } catch (error) {
    say(t("That did not work: {reason}", { reason: error.message }), true);
  }
}

/** Show the view. */
export function show(place) {
  let cards = [];
  let filter = "all";
  let found = null;
  const sight = new Set();
  const list = h("ul", { class: "attention", role: "status", hidden: true });
  const search = h("input", { type: "search", placeholder: t("Search PLCs and tags"), "aria-label": t("Search PLCs and tags"), oninput: () => asked() });
  const chips = h("div", { class: "chips", role: "group" });
  const strip = h("div", { class: "strip", hidden: true });
  const grid = h("div", { class: "cards" });
  const empty = h("p", { class: "empty", hidden: true });
  const shoot = h("button", { class: "quiet", title: t("Write the latest minutes of what the PLCs answered to a file"), onclick: snapshot }, t("Snapshot"));
  place.append(list, h("div", { class: "bar" }, search, chips, h("span", { class: "grow" }), shoot), strip, grid, empty);

  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const number = Number(target.dataset.number);
        if (isIntersecting) sight.add(number);
        else sight.delete(number);
      }
      want({ w: [...sight].sort((a, b) => a - b).join(",") });
    },
    { rootMargin: "120px" },
  );

  let timer = 0;
  function asked() {
    clearTimeout(timer);
    timer = setTimeout(() => want({ q: search.value }), 150);
  }

  let built = "";
  function build() {
    const keys = state.blocks.map(({ k }) => k).join("\n");
    if (keys && keys === built) return judge();
    built = keys;
    observer.disconnect();
    sight.clear();
    cards = state.blocks.map(card);
    grid.replaceChildren(...cards.map(({ root }) => root));
    grid.classList.toggle("few", cards.length < 4);
    strip.hidden = cards.length < STRIP_FROM;
    strip.replaceChildren(
      ...(strip.hidden ? [] : state.blocks.map((block, n) => h("a", { href: "#overview", title: `${block.n} ${block.b}`, "aria-label": block.n, onclick: (event) => reveal(event, n) }))),
    );
    for (const { root } of cards) observer.observe(root);
    judge();
    tick();
  }

  function judge() {
    if (cards.length !== state.states.length) return;
    attention(list);
    const counts = { all: cards.length, failing: 0, stale: 0 };
    cards.forEach((each, n) => {
      const [how] = state.states[n];
      if (how in counts) counts[how] += 1;
      each.judge();
      each.root.hidden = (filter !== "all" && how !== filter) || (found !== null && !found.has(n));
      if (!strip.hidden) strip.children[n].className = how;
    });
    if (filter !== "all" && !counts[filter]) {
      filter = "all";
      return judge();
    }
    chips.hidden = !counts.failing && !counts.stale;
    chips.replaceChildren(
      ...Object.entries(counts)
        .filter(([name, n]) => name === "all" || n)
        .map(([name, n]) =>
          h("button", { class: `chip ${name}`, "aria-pressed": String(filter === name), onclick: () => ((filter = name), judge()) }, `${t(name)} ${n}`),
        ),
    );
    const nothing = !cards.some(({ root }) => !root.hidden);
    empty.hidden = !nothing;
    put(empty, t(cards.length ? "Nothing matches." : "No block has been read yet."));
  }

  const tick = () => cards.forEach((each) => each.tick());
  const off = [
    on("blocks", build),
    on("states", judge),
    on("seen", (seen) => {
      for (const each of seen) cards[each.i]?.take(each);
      tick();
    }),
    on("found", (numbers) => {
      found = numbers === null ? null : new Set(numbers);
      judge();
    }),
  ];
  const ticking = setInterval(tick, 1000);
  if (state.blocks.length) build();
  else judge();
  return () => {
    observer.disconnect();
    clearInterval(ticking);
    clearTimeout(timer);
    off.forEach((out) => out());
  };
}

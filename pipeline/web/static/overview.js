// Overview: what needs attention, then a card per PLC and block. Only cards in sight are asked for.
import { ask, exact, failed, h, moment, put, say, shown, span, spark, svg, t } from "./dom.js";
import { now, on, state, want } from "./live.js";
import { openBlock } from "./block.js";

const SPARKS = 60;
const CARD = 8;
const STRIP_FROM = 13;
const GAP = 5;
const TURN = 10000;
const RANK = { failing: 0, bad: 1, stale: 2, fresh: 3 };

/** The columns of a card or table: name, sparkline, value, unit. */
export const columns = () => h("colgroup", {}, h("col"), h("col"), h("col"), h("col"));

/** How a block does, on its pill, with what to do. */
export function tell([how, advice, bad], pill, trouble) {
  pill.className = `pill ${how}`;
  put(pill, bad ? t("{n} bad", { n: bad }) : t(how));
  const text = advice || (how === "stale" ? t("Nothing new has come for three periods: see in the graph how its source does.") : "");
  trouble.hidden = !text;
  put(trouble, text);
}

/** How long ago that was; of a device whose clock is ahead its own time. */
export const aged = (ts) => (ts > now() + 60 ? moment(ts) : t("{age} ago", { age: span(now() - ts) }));

/** A row of a card or table; `set` shows a value. */
function row(key, name, unit, history, bit) {
  const past = history.slice(-SPARKS);
  const path = svg("path", { d: spark(past, bit) });
  const text = h("span");
  const value = h("td", { class: "value" }, text);
  const chart = h(
    "a",
    { class: "spark", href: `#charts?s=${encodeURIComponent(`${key}|${name}`)}`, tabindex: "-1", "aria-label": t("Show {name} in a chart", { name }) },
    svg("svg", { viewBox: "0 0 72 20", preserveAspectRatio: "none", "aria-hidden": "true" }, path),
  );
  const beside = [h("td", {}, chart), h("td", { class: "unit", title: unit }, unit)];
  const root = h("tr", {}, h("th", { scope: "row", title: name }, h("bdi", {}, name)), beside[0], value, beside[1]);
  let top = 0;
  let broken = false;
  /** As many digits after the point as the largest value leaves of six, so that they don't come and go. */
  function digits(now) {
    if (typeof now !== "number") return undefined;
    top = Math.max(top, Math.abs(now));
    broken ||= !Number.isInteger(now);
    return broken ? Math.max(0, Math.min(6, 5 - Math.floor(Math.log10(top)))) : undefined;
  }
  past.forEach(digits);
  return {
    root,
    set(now, bad) {
      const words = bad ?? shown(now, digits(now));
      const isText = typeof now === "string" || bad !== undefined;
      const marks = { bad: bad !== undefined, bit, on: now === true, text: isText, long: !isText && words.length > 8 };
      for (const [mark, yes] of Object.entries(marks)) root.classList.toggle(mark, yes);
      for (const each of beside) each.hidden = isText;
      value.colSpan = isText ? 3 : 1;
      put(text, words);
      value.title = bad ?? String(now ?? "");
    },
    remember(now) {
      if (typeof now === "string") return;
      past.push(now === null ? null : Number(now));
      if (past.length > SPARKS) past.shift();
      path.setAttribute("d", spark(past, bit));
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
    this.step = Infinity;
    this.rows = [];
    this.values = [];
    this.bad = {};
  }

  take(seen) {
    this.ts = seen.ts;
    if (seen.n) {
      this.values = seen.v.map(exact);
      this.step = Infinity;
      this.names = seen.n;
      this.of = seen.of;
      this.rows = seen.n.map((name, n) => row(this.key, name, seen.u[n], (seen.sparks[n] ?? []).map((v) => (v === null ? null : Number(v))), typeof seen.v[n] === "boolean"));
      this.table.replaceChildren(...this.rows.map(({ root }) => root));
    }
    for (let n = 0; n < (seen.d ?? []).length; n += 2) this.values[seen.d[n]] = exact(seen.d[n + 1]);
    if (seen.bad) this.bad = seen.bad;
    this.rows.forEach((each, n) => each.set(this.values[n], this.bad[n]));
    const passed = this.ts - this.sampled;
    if (passed >= (state.hello?.period ?? 1) * 0.9) {
      if (this.sampled && passed > GAP * this.step) this.rows.forEach((each) => each.remember(null));
      if (this.sampled) this.rows.forEach((each, n) => each.remember(n in this.bad ? null : this.values[n]));
      if (this.sampled) this.step = Math.min(this.step, passed);
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
    h("header", {}, h("h3", { title: block.n }, title), pill, h("p", { class: "sub", title: block.s }, block.s)),
    trouble,
    h("table", {}, columns(), body),
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
      root.className = `card ${state.states[number][0]}`;
      tell(state.states[number], pill, trouble);
    },
    tick() {
      const [how] = state.states[number];
      put(age, rows.ts ? aged(rows.ts) : how === "failing" ? t("never read") : "");
    },
  };
}

/** What needs attention: blocks by how they do, then parts of the graph with why; a card's text is not said again. */
export function wrong() {
  const groups = new Map();
  const twins = new Map();
  for (const { n } of state.blocks) twins.set(n, twins.has(n));
  const add = (how, label, why, item) => {
    if (!groups.has(label)) groups.set(label, { how, label, why, items: [] });
    groups.get(label).items.push(item);
  };
  for (const wanted of ["failing", "bad", "stale"]) {
    state.states.forEach(([how, , bad], number) => {
      const { n, b } = state.blocks[number];
      if (how === wanted) add(how, t(how), "", { name: twins.get(n) ? `${n} ${b}` : n, number, more: bad ? ` (${bad})` : "" });
    });
  }
  for (const [name, how, why, blocks] of state.troubles) {
    if (blocks.some((number) => state.states[number]?.[0] !== "fresh")) continue;
    const known = groups.get(name);
    if (how !== "dead") add("failing", name, why || t(how), { name, where: `#graph?node=${encodeURIComponent(name.split("/")[0])}` });
    else if (known) known.items[0].more = ` (${t("dead letters")})`;
    else add("bad", name, t("dead letters"), { name, where: "#journal" });
  }
  const found = [...groups.values()];
  const n = found.reduce((sum, { items }) => sum + items.length, 0);
  const look = found.some(({ how }) => how === "failing") ? "failing" : n ? "stale" : "fresh";
  return { found, look, text: n ? t(n === 1 ? "{n} needs attention" : "{n} need attention", { n }) : "" };
}

const link = ({ name, number, where, more = "" }) => [h("a", number === undefined ? { href: where } : { href: "#overview", onclick: (event) => reveal(event, number) }, name), more];
const list = (items) => items.slice(0, 12).map((item, n) => [n ? ", " : "", link(item)]).concat(items.length > 12 ? ` … (${items.length})` : []);

/** One line that opens; made anew only when it says something else, so that it stays open and keeps the focus. */
function attention(place) {
  const { found, look, text } = wrong();
  const said = JSON.stringify(found);
  place.hidden = !text;
  if (place.said === said) return;
  place.said = said;
  place.className = `attention ${look}`;
  place.replaceChildren(
    h("summary", {}, h("strong", {}, text), " ", list(found.flatMap(({ items }) => items))),
    h("ul", {}, found.map(({ label, why, items }) => h("li", {}, h("span", { class: "who" }, why ? "" : `${label}: `, list(items)), why ? h("span", {}, why) : null))),
  );
}

function reveal(event, number) {
  event.preventDefault();
  const found = document.getElementById(`block-${number}`);
  if (!found || found.hidden) return void openBlock(number);
  found.scrollIntoView({ block: "center", behavior: "smooth" });
  found.querySelector(".title").focus({ preventScroll: true });
}

async function snapshot() {
  try {
    say(t("Written: {path}", { path: (await ask("/api/snapshot", { method: "POST" })).recording }));
  } catch (error) {
    failed(error);
  }
}

/** Show the view. */
export function show(place) {
  let cards = [];
  let filter = "all";
  let found = null;
  const sight = new Set();
  const sick = h("details", { hidden: true });
  const kiosk = document.body.classList.contains("kiosk");
  const search = h("input", { type: "search", placeholder: t("Search PLCs and tags"), "aria-label": t("Search PLCs and tags"), oninput: () => asked() });
  const chips = h("div", { class: "chips", role: "group" });
  const strip = h("div", { class: "strip", hidden: true });
  const grid = h("div", { class: "cards" });
  const empty = h("p", { class: "empty", hidden: true });
  const shoot = h("button", { class: "quiet", title: t("Write the latest minutes of what the PLCs answered to a file"), onclick: snapshot, hidden: !state.hello?.login }, t("Snapshot"));
  const turned = h("p", { class: "turned sub" });
  place.append(sick, h("div", { class: "bar" }, search, chips, h("span", { class: "grow" }), shoot), strip, grid, turned, empty);

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
    attention(sick);
    const wall = kiosk ? wallPage() : null;
    const counts = { all: cards.length, failing: 0, bad: 0, stale: 0 };
    cards.forEach((each, n) => {
      const [how] = state.states[n];
      if (how in counts) counts[how] += 1;
      each.judge();
      each.root.hidden = (filter !== "all" && how !== filter) || (found !== null && !found.has(n)) || (wall !== null && !wall.has(n));
      if (!strip.hidden) strip.children[n].className = how;
    });
    if (filter !== "all" && !counts[filter]) {
      filter = "all";
      return judge();
    }
    chips.hidden = !counts.failing && !counts.bad && !counts.stale;
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

  let turn = 0;
  let brought = 0;
  /** The blocks that a wall display shows now: all, with fewer values each, or what ails beside the others by turns. */
  function wallPage() {
    const unit = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const [width, height, n] = [grid.clientWidth / unit + 0.7, grid.clientHeight / unit + 0.7, cards.length];
    const fit = (values) => [Math.max(1, Math.floor(width / 22)), Math.max(1, Math.floor(height / (5.6 + values * 1.8)))];
    const values = [8, 6, 4].find((each) => fit(each)[0] * fit(each)[1] >= n) ?? 3;
    const [most, deep] = fit(values);
    const columns = Math.min(most, Math.ceil(n / Math.min(deep, Math.ceil(n / most))));
    const rows = Math.min(deep, Math.ceil(n / columns));
    const figure = Math.min((height / rows - 5) / values / 1.7, width / columns / 20);
    for (const [name, value] of Object.entries({ columns, rows, figure: `${figure}rem` })) grid.style.setProperty(`--${name}`, value);
    if (values !== brought) want({ m: (brought = values) });
    const order = cards.map((_, each) => each).sort((a, b) => RANK[state.states[a][0]] - RANK[state.states[b][0]] || a - b);
    order.forEach((each, at) => (cards[each].root.style.order = at));
    const room = columns * rows;
    const ail = order.filter((each) => state.states[each][0] !== "fresh").slice(0, n > room ? room >> 1 : room);
    const others = order.slice(ail.length);
    const step = Math.max(1, room - ail.length);
    const pages = Math.max(1, Math.ceil(others.length / step));
    put(turned, pages > 1 ? `${(turn % pages) + 1}/${pages}` : "");
    return new Set([...ail, ...others.slice((turn % pages) * step, ((turn % pages) + 1) * step)]);
  }

  const tick = () => cards.forEach((each) => each.tick());
  const off = on({
    hello: () => (shoot.hidden = !state.hello.login),
    blocks: build,
    states: judge,
    seen(seen) {
      for (const each of seen) cards[each.i]?.take(each);
      tick();
    },
    found(numbers) {
      found = numbers === null ? null : new Set(numbers);
      judge();
    },
  });
  const ticking = setInterval(tick, 1000);
  const turning = kiosk ? setInterval(() => ((turn += 1), judge()), TURN) : 0;
  addEventListener("resize", judge);
  if (state.blocks.length) build();
  else judge();
  return () => {
    observer.disconnect();
    clearInterval(ticking);
    clearInterval(turning);
    removeEventListener("resize", judge);
    clearTimeout(timer);
    off();
  };
}

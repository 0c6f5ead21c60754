// Charts: picked tags over minutes to hours, one panel a unit with one time axis, zoom by dragging, CSV.
import { ask, clock, failed, h, lang, put, say, shown, span, t } from "./dom.js";
import { now, on, state, want } from "./live.js";

const RANGES = [300, 900, 3600, 14400, 28800];
const MOST = 12;
const COLORS = 8; // the ninth line has the first colour again, and is dashed
const FIRST = 3;
const STEPS = Array.from({ length: 640 }, (_, n) => [1, 2, 2.5, 5].map((step) => Number(`${step}e${n - 330}`))).flat();
let library = null;

function uplot() {
  library ??= new Promise((resolve, reject) => {
    const base = new URL(".", import.meta.url);
    document.head.append(h("link", { rel: "stylesheet", href: `${base}uplot.css` }));
    document.head.append(h("script", { src: `${base}uplot.js`, onload: () => resolve(window.uPlot), onerror: () => reject((library = null) ?? new Error("uplot.js")) }));
  });
  return library;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Show the view. */
export function show(place, rest) {
  const picked = new Map(); // id → {id, block, name, unit, color, samples}
  let range = 900;
  let zoom = null;
  let bounds = { period: 1, dense: 28800 };
  let panels = [];
  let Plot = null;
  let asking = 0;
  let reached = now();

  const search = h("input", { type: "search", role: "combobox", "aria-expanded": "false", "aria-controls": "found", autocomplete: "off", placeholder: t("Add a tag"), "aria-label": t("Add a tag"), oninput: find, onfocus: find, onkeydown: move });
  const found = h("ul", { id: "found", class: "found", role: "listbox", hidden: true });
  const chips = h("div", { class: "chips" });
  const ranges = h("div", { class: "chips", role: "group", "aria-label": t("Time range") });
  const csv = h("a", { class: "quiet button", download: "" }, t("Download CSV"));
  const back = h("button", { class: "quiet", hidden: true, onclick: () => look(null) }, t("Back to now"));
  const drawn = h("div", { class: "panels" });
  const empty = h("p", { class: "empty" }, t("Pick tags to see how they moved."));
  const hint = h("p", { class: "sub hint" });
  place.append(h("div", { class: "bar" }, h("div", { class: "pick" }, search, found), ranges, h("span", { class: "grow" }), back, csv), chips, drawn, empty, hint);

  // picking

  let timer = 0;
  function find() {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      try {
        const answer = await ask(`/api/series?q=${encodeURIComponent(search.value)}`);
        bounds = answer;
        tell();
        if (document.activeElement !== search) return;
        const others = answer.series.filter(({ id }) => !picked.has(id));
        found.replaceChildren(
          ...others.map((each) =>
            h("li", { role: "option", onmousedown: (event) => (event.preventDefault(), toggle(each)) }, h("strong", {}, each.name), h("span", { class: "sub" }, ` ${each.block}${each.unit ? ` · ${each.unit}` : ""}`)),
          ),
          ...(answer.more ? [h("li", { class: "sub" }, t("more; refine the search"))] : []),
          ...(others.length ? [] : [h("li", { class: "sub" }, t("Nothing matches."))]),
        );
        open(true);
      } catch {
        open(false);
      }
    }, 120);
  }

  function open(yes) {
    found.hidden = !yes;
    search.setAttribute("aria-expanded", String(yes));
  }

  function move(event) {
    const options = [...found.querySelectorAll("[role=option]")];
    const at = options.findIndex((each) => each.classList.contains("at"));
    if (event.key === "Escape") open(false);
    else if (event.key === "Enter" && at >= 0) options[at].dispatchEvent(new MouseEvent("mousedown", { cancelable: true }));
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      options[at]?.classList.remove("at");
      const next = options[(at + (event.key === "ArrowDown" ? 1 : options.length - 1) + (at < 0 && event.key === "ArrowUp" ? 1 : 0)) % options.length];
      next?.classList.add("at");
      next?.scrollIntoView({ block: "nearest" });
    }
  }
  const away = () => setTimeout(() => open(false), 150);
  search.addEventListener("blur", away);

  function toggle({ id }) {
    if (picked.has(id)) picked.delete(id);
    else if (picked.size < MOST) picked.set(id, { id });
    else return say(t("Pick up to 12 tags"));
    for (const option of found.querySelectorAll("[role=option]")) option.classList.remove("at");
    search.value = "";
    open(false);
    search.blur();
    return load();
  }

  // data

  const window_ = () => zoom ?? [now() - range, now()];

  function remember() {
    const query = new URLSearchParams();
    for (const id of picked.keys()) query.append("s", id);
    if (range !== 900) query.set("r", range);
    history.replaceState(null, "", `#charts${query.size ? `?${query}` : ""}`);
    try {
      localStorage.setItem("charts", query.toString());
    } catch {
      // A browser that keeps nothing.
    }
  }

  /** Where the samples of the window are, and so many seconds before it. */
  function path(before = 0) {
    const query = new URLSearchParams([...picked.keys()].map((id) => ["s", id]));
    query.set("from", (window_()[0] - before).toFixed(3));
    if (zoom) query.set("to", zoom[1].toFixed(3));
    return `/api/history?${query}`;
  }

  async function load() {
    remember();
    controls();
    const mine = ++asking;
    if (!picked.size) {
      render();
      return follow();
    }
    const wanted = path(5 * bounds.period);
    try {
      Plot = await uplot();
      const answer = await ask(wanted);
      if (mine !== asking) return undefined;
      // Samples of the future would keep those of now out.
      const until = now() + 2;
      answer.forEach(({ series, samples }, n) => picked.set(series.id, { ...series, samples: samples.filter(([ts]) => ts < until), color: n, mark: h("output") }));
    } catch (error) {
      if (mine !== asking) return undefined;
      failed(error);
    }
    controls();
    render();
    return follow();
  }

  function follow() {
    const lines = () => (zoom ? [] : [...picked.values()].filter(({ samples }) => samples).map(({ id, samples }) => `${id}|${samples.at(-1)?.[0] ?? now()}`));
    want({ c: lines });
  }

  /** A line breaks where samples are missing for much longer than usual. */
  function columns({ samples }) {
    const times = [];
    const values = [];
    const steps = samples.slice(1).map(([ts], n) => ts - samples[n][0]).sort((a, b) => a - b);
    const usual = Math.max(bounds.period, steps[Math.floor(steps.length / 2)] ?? 0);
    let last = null;
    for (const [ts, value] of samples) {
      if (last !== null && ts - last > Math.max(5 * usual, 5)) {
        times.push(last + usual);
        values.push(null);
      }
      if (last === null || ts > last) {
        times.push(ts);
        values.push(value === null ? null : Number(value));
        last = ts;
      }
    }
    return [times, values];
  }

  // drawing

  function controls() {
    const ids = [...picked.values()];
    chips.replaceChildren(
      ...ids.map((each) => h("button", { class: "chip series", "aria-label": t("Remove {name}", { name: each.name ?? each.id }), title: t("Remove {name}", { name: each.id.replace("|", " ") }), onclick: () => toggle(each) }, dot(each), h("strong", {}, each.name ?? each.id.split("|")[1]), ` ${each.block ?? ""}`, each.mark ?? null, h("span", { class: "x", "aria-hidden": "true" }, "✕"))),
    );
    ranges.replaceChildren(...RANGES.map((seconds) => h("button", { class: "chip", "aria-pressed": String(!zoom && seconds === range), onclick: () => ((range = seconds), look(null)) }, span(seconds))));
    back.hidden = !zoom;
    csv.hidden = !picked.size;
    csv.href = `${path()}&format=csv`;
    empty.hidden = picked.size > 0;
    tell();
  }

  function dot({ color = 0 }) {
    const mark = h("i", { class: color < COLORS ? "" : "dashed" });
    mark.style.color = `var(--c${color % COLORS})`;
    return mark;
  }

  function tell() {
    const kept = t("One sample each {period}, kept for {span}. Zoom by dragging or with + and -, move with ← and →, go back by double-click or 0.", { period: span(bounds.period), span: span(28800) });
    put(hint, bounds.dense < 28800 ? `${kept} ${t("Older than {dense} they are thinned out.", { dense: span(bounds.dense) })}` : kept);
  }

  function look(next) {
    zoom = next;
    return load();
  }

  function render() {
    const held = [...drawn.children].indexOf(document.activeElement);
    for (const { plot } of panels) plot.destroy();
    drawn.replaceChildren();
    const units = new Map();
    for (const each of picked.values()) {
      if (!each.samples) continue;
      each.form = form(each);
      const key = each.unit || (each.form.startsWith("bits") ? "0/1" : "");
      if (!units.has(key)) units.set(key, []);
      units.get(key).push(each);
    }
    panels = [...units].map(([unit, series]) => panel(unit, series));
    fit();
    drawn.children[held]?.focus({ preventScroll: true });
  }

  /** How a line is drawn, by what it holds: a REAL may begin with whole numbers, a counter with 0. */
  function form({ samples }) {
    const values = samples.map(([, value]) => value).filter((value) => value !== null);
    const steps = values.length && values.every((value) => value === 0 || value === 1) ? "bits" : "steps";
    return (values.every(Number.isInteger) ? steps : "line") + (samples.length < 2 ? " dots" : "");
  }

  function panel(unit, series) {
    const at = h("time");
    const figure = h("figure", { tabindex: "0", "aria-label": unit || t("no unit"), onkeydown: steer }, h("figcaption", {}, unit || t("no unit"), at));
    drawn.append(figure);
    const bits = unit === "0/1";
    const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    const two = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", hour12: false });
    const times = (_, splits) => splits.map((ts) => (splits[1] - splits[0] < 60 ? clock : two).format(ts * 1000));
    /** The values under the cursor, else the latest. */
    function legend({ cursor: { idx }, data }) {
      const ts = data[0][idx];
      put(at, ts ? clock.format(ts * 1000) : "");
      series.forEach(({ mark }, n) => put(mark, shown(ts ? data[n + 1][idx] : data[n + 1].findLast((value) => value !== null && value !== undefined))));
    }
    const plot = new Plot(
      {
        width: 600,
        height: height(bits),
        tzDate: (ts) => new Date(ts * 1000),
        cursor: { sync: { key: "charts" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
        scales: { x: { time: true, auto: false, range: () => window_() }, y: bits ? { range: [-0.1, 1.1] } : { range: (_, low, high) => padded(low, high) } },
        axes: [{ ...axis, size: 36, values: times }, { ...axis, incrs: STEPS, size: (_, labels) => Math.max(44, 24 + 7.5 * Math.max(0, ...(labels ?? []).map(({ length }) => length))), values: (_, splits, __, ___, step) => splits.map((value) => (bits && value % 1 ? "" : fixed(value, step))) }],
        legend: { show: false },
        series: [
          {},
          ...series.map(({ color, form }) => ({
            stroke: css(`--c${color % COLORS}`),
            dash: color < COLORS ? undefined : [7, 4],
            width: 1.75,
            points: { show: form.endsWith("dots") },
            paths: bits || !form.startsWith("line") ? Plot.paths.stepped({ align: 1 }) : undefined,
          })),
        ],
        hooks: {
          setCursor: [legend],
          setSelect: [
            (self) => {
              if (self.select.width < 8) return;
              const [from, to] = [self.select.left, self.select.left + self.select.width].map((x) => self.posToVal(x, "x"));
              self.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
              look([from, to]);
            },
          ],
        },
      },
      data(series),
      figure,
    );
    plot.over.addEventListener("dblclick", () => zoom && look(null));
    // A finger drags like a mouse; up and down it scrolls the page.
    for (const [name, as] of Object.entries({ touchstart: "mousedown", touchmove: "mousemove", touchend: "mouseup" })) {
      plot.over.addEventListener(name, ({ changedTouches: [{ clientX, clientY }] }) => {
        const like = (kind) => plot.over.dispatchEvent(new MouseEvent(kind, { bubbles: true, clientX, clientY, movementX: 1 }));
        if (as === "mousedown") like("mousemove");
        like(as);
      }, { passive: true });
    }
    return { plot, series, bits, figure, legend };
  }

  /** Zoom and move by keyboard. */
  function steer({ key }) {
    const [from, to] = window_();
    const wide = to - from;
    if (key === "+" || key === "=") look([from + wide / 4, to - wide / 4]);
    else if (key === "-") look([from - wide / 2, Math.min(now(), to + wide / 2)]);
    else if (key === "ArrowLeft") look([from - wide / 4, to - wide / 4]);
    else if (key === "ArrowRight" && zoom) look([from + wide / 4, to + wide / 4]);
    else if (key === "0" && zoom) look(null);
  }

  function fixed(value, step) {
    const digits = Math.min(8, (String(Number(step.toPrecision(6))).split(".")[1] ?? "").length);
    const size = Math.abs(value);
    if (size >= 1e7 || (size && size < 1e-6)) return value.toExponential(Math.max(0, Math.min(6, Math.floor(Math.log10(size) + 1e-9) - Math.floor(Math.log10(step) + 1e-9) + (String(step).startsWith("2.5") ? 1 : 0))));
    return value.toLocaleString(lang, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false });
  }

  function padded(low, high) {
    if (low === null || high === null) return [0, 1];
    const space = (high - low || Math.abs(high) || 1) * 0.08;
    return [low - space, high + space];
  }

  const data = (series) => Plot.join(series.map(columns));
  const height = (bits) => (bits ? 120 : Math.max(180, Math.min(300, innerHeight * 0.32)));

  function fit() {
    for (const { plot, figure, bits } of panels) plot.setSize({ width: Math.max(240, figure.clientWidth), height: height(bits) });
  }

  function advance() {
    const back = now() < reached - 1; // the pipeline's clock was set back
    reached = now();
    if (back) return void load();
    if (zoom || document.hidden) return;
    const from = now() - range - 30;
    if ([...picked.values()].some((each) => each.samples && each.form !== form(each))) render();
    for (const { plot, series, legend } of panels) {
      for (const each of series) {
        const keep = each.samples.findIndex(([ts]) => ts >= from);
        if (keep > 60) each.samples.splice(0, keep);
      }
      plot.setData(data(series));
      legend(plot);
    }
  }

  // life

  function read(text) {
    const asked = new URLSearchParams(text);
    picked.clear();
    for (const id of asked.getAll("s").slice(0, MOST)) picked.set(id, { id });
    if (RANGES.includes(Number(asked.get("r")))) range = Number(asked.get("r"));
  }

  let saved = null;
  try {
    saved = localStorage.getItem("charts");
  } catch {
    // A browser that keeps nothing.
  }
  read(rest || saved || "");
  const off = on({
    lines(lines) {
      for (const [id, samples] of lines) {
        const each = picked.get(id);
        const last = each?.samples?.at(-1)?.[0] ?? 0;
        each?.samples?.push(...samples.filter(([ts]) => ts > last));
      }
      advance();
    },
    hello: (before) => before && load(),
    // A block that was not there yet: after a restart it comes with its first reading.
    blocks: () => [...picked.values()].some(({ samples }) => !samples?.length) && load(),
  });
  const resized = new ResizeObserver(fit);
  resized.observe(drawn);
  const changed = (event) => (read(event.detail), load());
  place.addEventListener("theme", render);
  place.addEventListener("rest", changed);
  const ticking = setInterval(advance, Math.max(1000, (state.hello?.period ?? 1) * 1000));
  ask("/api/series").then((answer) => {
    bounds = answer;
    tell();
    // Who has never picked any sees the first, those with a unit before others.
    if (!rest && saved === null && !picked.size) {
      for (const each of answer.series.sort((a, b) => !a.unit - !b.unit).slice(0, FIRST)) picked.set(each.id, { id: each.id });
      load();
    }
  }, () => {});
  if (picked.size) load();
  else controls();
  return () => {
    clearTimeout(timer);
    clearInterval(ticking);
    resized.disconnect();
    place.removeEventListener("theme", render);
    place.removeEventListener("rest", changed);
    for (const { plot } of panels) plot.destroy();
    off();
  };
}

// One block whole: every value with unit, quality and sparkline, in a dialog that the stream keeps alive.
import { h, put, t, tool } from "./dom.js";
import { on, state, want } from "./live.js";
import { Rows, aged, columns, tell } from "./overview.js";

/** Open the dialog of a block. */
export function openBlock(number) {
  const block = state.blocks[number];
  const body = h("tbody");
  const rows = new Rows(block.k, body);
  const age = h("span", { class: "age" });
  const pill = h("span", { class: "pill" });
  const trouble = h("p", { class: "trouble", hidden: true });
  const shown = h("span", { class: "sub" });
  const filter = h("input", { type: "search", placeholder: t("Filter values"), "aria-label": t("Filter values"), oninput: sift });
  const dialog = h(
    "dialog",
    { class: "block", "aria-label": block.n },
    h("header", {}, h("h2", {}, block.n), pill, h("span", { class: "grow" }), age, tool("✕", t("Close"), () => dialog.close())),
    h("p", { class: "sub" }, block.s),
    trouble,
    h("div", { class: "bar" }, filter, shown),
    h("div", { class: "scroll" }, h("table", {}, columns(), body)),
  );

  function sift() {
    const text = filter.value.trim().toLowerCase();
    let n = 0;
    rows.rows.forEach(({ root }, index) => {
      root.hidden = !rows.names[index].toLowerCase().includes(text);
      n += !root.hidden;
    });
    put(shown, t("{n} of {all}", { n, all: rows.rows.length }));
  }

  function judge() {
    const judged = state.states[number] ?? ["stale", ""];
    dialog.dataset.state = judged[0];
    tell(judged, pill, trouble);
  }

  const tick = () => put(age, rows.ts ? aged(rows.ts) : "");
  const off = on({
    seen(seen) {
      const mine = seen.find(({ i }) => i === number);
      if (!mine || (!rows.names && !mine.n)) return;
      rows.take(mine);
      if (mine.n) sift();
      tick();
    },
    states: judge,
    blocks: () => state.blocks[number]?.k !== block.k && dialog.close(),
  });
  const ticking = setInterval(tick, 1000);
  dialog.addEventListener("close", () => {
    clearInterval(ticking);
    off();
    want({ o: "" });
    dialog.remove();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest(".spark")) dialog.close();
  });
  judge();
  document.body.append(dialog);
  dialog.showModal();
  want({ o: String(number) });
}

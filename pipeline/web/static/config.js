// The graph file as it is on disk, with what `check` says in place: problems and predictions under their lines.
import { ask, failed, h, t } from "./dom.js";
import { on } from "./live.js";

const TOKENS = /(#.*$)|(\$\{[^}]*\})|("(?:[^"\\]|\\.)*"|'[^']*')|^(\s*(?:- )?)([\w.$-]+)(?=:(?:\s|$))|([{,]\s*)([\w.-]+)(?=:\s)/g;

function colored(line) {
  const parts = [];
  let at = 0;
  for (const match of line.matchAll(TOKENS)) {
    const [whole, comment, variable, text, margin, key, brace, inner] = match;
    if (comment && match.index && !/\s/.test(line[match.index - 1])) continue;
    parts.push(line.slice(at, match.index));
    at = match.index + whole.length;
    if (comment) parts.push(h("i", { class: "comment" }, whole));
    else if (variable) parts.push(h("i", { class: "variable" }, whole));
    else if (text) parts.push(...quoted(whole));
    else if (key) parts.push(margin, h("i", { class: "key" }, key));
    else parts.push(brace, h("i", { class: "key" }, inner));
  }
  parts.push(line.slice(at));
  return parts;
}

function quoted(text) {
  return text.split(/(\$\{[^}]*\})/).map((part) => h("i", { class: part.startsWith("${") ? "variable" : "string" }, part));
}

/** Show the view. */
export function show(place) {
  const head = h("div", { class: "bar" });
  const file = h("div", { class: "file" });
  const links = h("ol", { class: "problems" });
  place.append(head, links, file);

  async function load() {
    let found;
    try {
      found = await ask("/api/config");
    } catch (error) {
      failed(error);
      return;
    }
    const total = (severity) => found.problems.filter((each) => each.severity === severity).length;
    const said = (n, one, many) => (n ? t(n === 1 ? one : many, { n }) : "");
    head.replaceChildren(
      h("span", { class: `pill ${found.good ? "fresh" : "failing"}` }, t(found.good ? "This file is good." : "This file would be refused.")),
      h("strong", {}, [said(total("error"), "{n} error", "{n} errors"), said(total("warning"), "{n} warning", "{n} warnings")].filter(Boolean).join(", ")),
      h("code", { class: "sub" }, found.file),
      h("span", { class: "grow" }),
      h("button", { class: "quiet", onclick: load }, t("Check again")),
    );
    const ranked = [...found.problems].sort((a, b) => (a.severity !== "error") - (b.severity !== "error") || a.line - b.line);
    links.replaceChildren(...ranked.map(({ line, node, option, severity, message }) => h("li", { class: severity }, h("a", { href: "#config", onclick: (event) => reveal(event, line) }, t("line {n}", { n: line })), h("code", {}, [node, option].filter(Boolean).join(" · ")), ` ${message}`)));
    const notes = new Map();
    const note = (line, element) => notes.set(line, [...(notes.get(line) ?? []), element]);
    for (const each of found.problems) {
      const where = [each.node, each.option].filter(Boolean).join(" · ");
      note(each.line, h("div", { class: `remark ${each.severity}` }, h("strong", {}, t(each.severity)), where ? h("code", {}, where) : null, ` ${each.message}`, each.hint ? h("em", {}, each.hint) : null));
    }
    for (const { line, lines } of found.predictions) {
      if (lines.length) note(line, h("div", { class: "remark prediction" }, lines.map(([name, value]) => h("span", {}, h("i", {}, `${name} `), value))));
    }
    const rows = found.text.replace(/\n$/, "").split("\n").flatMap((text, index) => [
      h("div", { class: "source", id: `line-${index + 1}` }, h("span", { class: "n" }, index + 1), h("code", {}, colored(text))),
      ...(notes.get(index + 1) ?? []),
    ]);
    file.replaceChildren(...(notes.get(0) ?? []), ...rows);
  }
  function reveal(event, line) {
    event.preventDefault();
    (document.getElementById(`line-${line}`) ?? file).scrollIntoView({ block: "center", behavior: "smooth" });
  }
  load();
  return on({ hello: (before) => before && load() });
}

"""The page: what the person beside the machine looks at first. Server-rendered, in English or Portuguese.

It comes as pieces, one a card, so that a hundred PLCs don't hold the loop while somebody looks.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from html import escape

from pipeline.actor import Actor, State
from pipeline.frame import Origin, Scalar
from pipeline.graph import Node
from pipeline.units import Size
from pipeline.web.view import Block, Details, Running, actors_of, blocks, details_of, troubles
from pipeline.web.words import translator

__all__ = ["language", "page"]

Translate = Callable[[str], str]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SHOWN = 8  # entries of a detail that has many, such as one a PLC


def language(accepted: str) -> str:
    """`pt-BR` or `en`, whichever an Accept-Language header prefers; English when it names neither."""
    wanted: list[tuple[float, str]] = []
    for item in accepted.split(","):
        name, _, quality = item.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), name.lower()[:2]))
        except ValueError:
            continue
    best = next(
        (name for rank, name in sorted(wanted, key=lambda pair: pair[0]) if rank and name in {"pt", "en"}), "en"
    )
    return "pt-BR" if best == "pt" else "en"


def page(running: Running, chosen: str, versions: Mapping[str, str]) -> Iterator[str]:
    """The whole document in pieces.

    Args:
        running: what to show.
        chosen: the language, from `language`.
        versions: by name of a static file, what makes its address change with its content.
    """
    t = translator(chosen)
    cards = blocks(running)
    yield _head(running, t, chosen, versions)
    yield "<main>"
    yield _summary(running, cards, t)
    yield f'<h2>{t("Values")}</h2><div class="cards">'
    if not cards:
        yield f'<p class="empty">{t("No block has been read yet.")}</p>'
    for card in cards:
        yield _card(card, t)
    yield f'</div><h2>{t("Parts")}</h2><ul class="parts">'
    details = running.details
    for node in running.graph.running():
        for actor, facts in _node(node, running, t):
            yield _part(actor, facts, details_of(details, actor.name), t)
    yield "</ul></main></body></html>\n"


def _head(running: Running, t: Translate, chosen: str, versions: Mapping[str, str]) -> str:
    name = escape(running.graph.name)
    address = {file: f"/static/{file}?v={version}" for file, version in versions.items()}
    up = f"{t('running for')} {_span(running.clock.wall() - running.started)}"
    return (
        f'<!doctype html><html lang="{chosen}"><head><meta charset="utf-8"><title>{name}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="{address["icon.svg"]}"><link rel="stylesheet" href="{address["page.css"]}">'
        f'<script src="{address["page.js"]}" defer></script>'
        '<noscript><meta http-equiv="refresh" content="2"></noscript></head><body>'
        f'<header><h1>{name}</h1><p class="sub">{up} · <span class="code">{escape(running.boot)}</span></p>'
        '<nav><a href="/metrics">/metrics</a><a href="/api/last">/api/last</a><a href="/api/graph">/api/graph</a></nav>'
        f'</header><p id="lost" role="alert" hidden>{t("Connection to the pipeline lost; what you see is old.")}</p>'
    )


def _summary(running: Running, cards: Sequence[Block], t: Translate) -> str:
    """One line when all is well, else one line for each thing that is not."""
    advised = {card.advice for card in cards if card.advice}
    lines = [
        f'<li><a href="#block-{card.number}">{_title(card.origin)}</a> '
        + (f"{t('fails')}: {escape(card.advice or card.failure.error or '')}" if card.failure else t("is stale"))
        + "</li>"
        for card in cards
        if card.failure or card.stale
    ]
    lines += [
        f'<li><a href="#part-{escape(actor.name)}">{escape(actor.name)}</a> {t(actor.state.value)}'
        + (f": {escape(actor.reason)}" if actor.reason else "")
        + "</li>"
        for actor in troubles(running)
        if actor.reason not in advised
    ]
    if not lines:
        return f'<p class="overall good">{t("All is well.")}</p>'
    return f'<div class="overall poor"><p>{t("Needs attention")}</p><ul>{"".join(lines)}</ul></div>'


def _card(block: Block, t: Translate) -> str:
    origin, frame, failure = block.origin, block.frame, block.failure
    state = "failing" if failure else "stale" if block.stale else "fresh"
    facts = ["" if origin.db is None else f"DB{origin.db}", origin.measurement, origin.ip]
    facts += [f"{key}={value}" for key, value in origin.tags.items()]
    parts = [
        f'<article class="card {state}" id="block-{block.number}"><header><h3>{_title(origin)}</h3>',
        f'<span class="pill {state}">{t(state)}</span>',
        f'<p class="sub">{escape(" · ".join(filter(None, facts)))}</p></header>',
    ]
    if failure is not None:
        parts.append(f'<p class="trouble">{escape(block.advice or failure.error or "")}</p>')
    if frame is None:
        parts.append(f'<p class="age">{t("never read")}</p>')
    else:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(frame.ts))
        parts.append(f'<p class="age">{t("age")} <time datetime="{moment}">{_span(block.age)}</time></p><table>')
        parts += [_row(name, value, origin.units.get(name, "")) for name, value in frame.values.items()]
        parts += [
            f'<tr class="poor"><th scope="row">{escape(name)}</th><td colspan="2">{escape(reason)}</td></tr>'
            for name, reason in (frame.bad or {}).items()
        ]
        parts.append("</table>")
    parts.append("</article>")
    return "".join(parts)


def _row(name: str, value: Scalar, unit: str) -> str:
    if isinstance(value, bool):
        shown = f'<td class="{"on" if value else "off"}">{"true" if value else "false"}</td>'
    elif isinstance(value, float):
        shown = f"<td>{value:.6g}</td>"
    else:
        shown = f"<td>{escape(str(value))}</td>"
    return f'<tr><th scope="row">{escape(name)}</th>{shown}<td class="unit">{escape(unit)}</td></tr>'


def _node(node: Node, running: Running, t: Translate) -> Iterator[tuple[Actor, list[str]]]:
    """A node's actors with their counters; frames stand at the first, since all parts of a source count together."""
    now = running.clock.wall()
    port = running.ports.get(node.name)
    for actor in actors_of(running, node.name):
        facts = [node.operator.name, t(node.kind.value), f"{t('since')} {_span(now - actor.since)}"]
        if port is not None:
            facts.append(f"{port.frames} {t('frames')}")
            port = None
        if actor.errors:
            facts.append(f"{actor.errors} {t('errors')}")
        facts += [f"{count} {t('dropped')} ({reason})" for reason, count in actor.drops.items()]
        yield actor, facts


def _part(actor: Actor, facts: list[str], details: Details, t: Translate) -> str:
    state, name = actor.state, escape(actor.name)
    look = "good" if state is State.RUNNING else "idle" if state in {State.STARTING, State.STOPPED} else "poor"
    reason = f'<p class="trouble">{escape(actor.reason)}</p>' if actor.reason and state is not State.RUNNING else ""
    rows = "".join(_fact(key, value, t) for key, value in details.items())
    return (
        f'<li id="part-{name}"><span class="pill {look}">{t(state.value)}</span> <strong>{name}</strong> '
        f'<span class="sub">{escape(" · ".join(facts))}</span>{reason}{f"<dl>{rows}</dl>" if rows else ""}</li>'
    )


def _fact(key: str, value: object, t: Translate) -> str:
    """A detail of a part, sizes and spans as people read them by what the key ends with; nothing if it is empty."""
    if value is None or (isinstance(value, str | Sized) and not value):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        shown = _quantity(key, value)
    elif isinstance(value, Mapping):
        pairs = [f"{name}: {item}" for name, item in value.items()]
        shown = ", ".join(pairs[:_SHOWN]) + (f", … ({len(pairs)})" if len(pairs) > _SHOWN else "")
    else:
        shown = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    name = t(key.removesuffix("_seconds").replace("_", " "))
    return f"<div><dt>{escape(name)}</dt><dd>{escape(shown)}</dd></div>"


def _quantity(key: str, value: float) -> str:
    if not math.isfinite(value):
        return "∞" if value > 0 else "?"
    if key.endswith("bytes"):
        return str(Size(value))
    if key.endswith("seconds"):
        return _span(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _title(origin: Origin) -> str:
    return escape("/".join(filter(None, (origin.tenant_id, origin.plc_id or origin.ip))) or origin.measurement)


def _span(seconds: float) -> str:
    """A time span as it is read at a glance: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    seconds = max(0.0, seconds)
    if seconds < 10:  # noqa: PLR2004 - one decimal below ten seconds
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"

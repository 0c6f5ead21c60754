"""The page's frame: what is there before the first event of the stream comes. Everything else is made by the browser.

A few kilobytes, in English or Portuguese, light or dark, so that the first paint waits for nothing.
"""

from __future__ import annotations

import json
from html import escape

from pipeline.web.view import Running
from pipeline.web.words import WORDS, translator

__all__ = ["VIEWS", "language", "page"]

VIEWS = ("overview", "graph", "charts", "journal", "log", "config")
_AUTOMATIC = "(prefers-color-scheme:dark)"
_MEDIA = {"light": "not all", "dark": "all"}
_MODULES = ("app", "dom", "live", "overview", "block")


def language(*accepted: str) -> str:
    """`pt-BR` or `en`, whichever is named first or preferred; English where neither is.

    Args:
        accepted: what the person has chosen, if anything, then the Accept-Language header.
    """
    wanted: list[tuple[float, str]] = []
    for item in ",".join(filter(None, accepted)).split(","):
        name, _, quality = item.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), name.lower()[:2]))
        except ValueError:
            continue
    best = next(
        (name for rank, name in sorted(wanted, key=lambda pair: pair[0]) if rank and name in {"pt", "en"}), "en"
    )
    return "pt-BR" if best == "pt" else "en"


def page(running: Running, chosen: str, theme: str, version: str, first: bytes) -> str:
    """The document.

    Args:
        running: what to show.
        chosen: the language, from `language`.
        theme: `light`, `dark`, or else what the browser prefers.
        version: of the static files.
        first: what the page shows before its stream is open, as JSON.
    """
    t = translator(chosen)
    static = f"/static/{version}"
    name = escape(running.graph.name)
    words = _data("words", json.dumps(WORDS[chosen], ensure_ascii=False, separators=(",", ":")))
    tabs = "".join(f'<a href="#{view}" id="tab-{view}">{t(view)}</a>' for view in VIEWS)
    preload = "".join(f'<link rel="modulepreload" href="{static}/{module}.js">' for module in _MODULES)
    return (
        f'<!doctype html><html lang="{chosen}"><head><meta charset="utf-8"><title>{name}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" '
        'content="light dark">'
        f'<link rel="icon" href="{static}/icon.svg"><link rel="stylesheet" href="{static}/page.css">'
        f'<link id="dark" rel="stylesheet" href="{static}/dark.css" media="{_MEDIA.get(theme, _AUTOMATIC)}">{preload}'
        f'<script type="module" src="{static}/app.js"></script></head><body>'
        f'<a class="skip" href="#view">{t("Skip to content")}</a>'
        f'<header id="top"><div class="brand"><img src="{static}/icon.svg" alt="" width="24" height="24">'
        f'<h1>{name}</h1><span id="health" class="pill idle">{t("connecting")}</span></div>'
        f'<nav id="tabs" aria-label="{t("Views")}">{tabs}</nav><div id="tools"></div></header>'
        '<div id="lost" role="alert" hidden></div>'
        f'<main id="view" tabindex="-1"><noscript><p class="empty">{t("This page needs JavaScript.")} '
        '<a href="/api/last">/api/last</a></p></noscript></main>'
        '<div id="said" role="status" aria-live="polite"></div>'
        f"{words}{_data('first', first.decode())}</body></html>\n"
    )


def _data(name: str, json_text: str) -> str:
    """JSON in a script element of another type than script, of which a browser runs nothing; only `<` could end it."""
    harmless = json_text.replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{harmless}</script>'

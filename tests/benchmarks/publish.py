"""Makes RESULTS.md, the plots and the READMEs' figures from results.json: `python -m tests.benchmarks.publish`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.benchmarks.results import COMMITTED, Results, Row, load
from tests.benchmarks.table import table
from tests.benchmarks.words import NOTES, Language

__all__ = ["FIGURES_OF", "pages", "section"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FIGURES_OF: dict[Path, Language] = {ROOT / "README.md": 0, ROOT / "README.pt-BR.md": 1}
"""The files with a section of figures, and its language."""
_SECTION = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)
_ENGLISH = """
Measured on {machine}, at {commits}, on {days}.
Each side runs on the same real parts, a C++ S7 server and Mosquitto; Telegraf {telegraf} is the peer, in alternating
rounds. Brackets give the spread of the rounds.
Repeat it: `pip install -e '.[bench]'`, `python -m tests.benchmarks`.

{table}

![CPU per frame, beside Telegraf](tests/benchmarks/cpu.svg)

All figures, and what each side does more or less: [`tests/benchmarks/RESULTS.md`](tests/benchmarks/RESULTS.md).

"""
_PORTUGUESE = """
Medido em {machine}, em {commits}, em {days}.
Cada lado roda sobre as mesmas partes reais, um servidor S7 em C++ e o Mosquitto; o Telegraf {telegraf} é o par, em
rodadas alternadas. Entre parênteses, a dispersão das rodadas.
Para repetir: `pip install -e '.[bench]'`, `python -m tests.benchmarks`.

{table}

![CPU por frame, ao lado do Telegraf](tests/benchmarks/cpu.svg)

Todos os números, e o que cada lado faz a mais ou a menos: [`tests/benchmarks/RESULTS.md`](tests/benchmarks/RESULTS.md).

"""


def section(results: Results, language: Language) -> str:
    """What stands between the markers of a README."""
    runs = [row.run for row in results.rows if row.run is not None]
    return (_ENGLISH, _PORTUGUESE)[language].format(
        machine=" / ".join(dict.fromkeys(run.machine for run in runs)),
        commits=", ".join(dict.fromkeys(f"`{run.commit}`" for run in runs)),
        days=", ".join(dict.fromkeys(run.when[:10] for run in runs)),
        telegraf=runs[0].versions["Telegraf"],
        table=table(results, language, brief=True),
    )


def pages(results: Results) -> dict[Path, str]:
    """Every generated page with its text."""
    made = {HERE / "RESULTS.md": _report(results)}
    for file, language in FIGURES_OF.items():
        text = file.read_text(encoding="utf-8")
        if _SECTION.search(text):
            before, after = _SECTION.split(text, maxsplit=1)
            made[file] = before + section(results, language) + after
    return made


def _report(results: Results) -> str:
    notes = "\n".join(f"- `{row.name}`: {NOTES[row.name]}" for row in results.rows if row.name in NOTES)
    return f"""# Benchmarks: results

Made from `results.json` by `python -m tests.benchmarks.publish`; [README.md](README.md) tells what each benchmark does.

{table(results)}

{notes}

![CPU per frame, beside Telegraf](cpu.svg)
![PLCs in one process](fleet.svg)
![More and more frames](top.svg)

| benchmark | command | commit | when | rounds |
|---|---|---|---|---|
{"".join(map(_origin, results.rows))}
Versions: {_versions(results)}.
"""


def _origin(row: Row) -> str:
    run = row.run
    if run is None:
        return ""
    command = f"python -m tests.benchmarks {row.name} --rounds {row.rounds}" + (" --quick" if run.quick else "")
    return f"| `{row.name}` | `{command}` | {run.commit} | {run.when} | {row.rounds} |\n"


def _versions(results: Results) -> str:
    runs = [row.run for row in results.rows if row.run is not None]
    return ", ".join(dict.fromkeys(f"{name} {version}" for run in runs for name, version in run.versions.items()))


def main() -> None:
    """Write pages and plots."""
    from tests.benchmarks.plots import draw  # noqa: PLC0415 - matplotlib is needed here only, not to compare pages

    results = load(COMMITTED)
    for file, text in pages(results).items():
        file.write_text(text, encoding="utf-8")
    draw(results, HERE)


if __name__ == "__main__":
    main()

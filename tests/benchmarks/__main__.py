"""`python -m tests.benchmarks [NAME…] [--quick] [--rounds N] [--json FILE]`; `--help` tells more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
from msgspec.structs import replace

try:
    from tests.benchmarks import comparison, inner, scale, storing, timing, viewing
    from tests.benchmarks.results import Results, Row, load, save, this_run
    from tests.benchmarks.stage import Effort
    from tests.benchmarks.table import table
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run: pip install -e '.[bench]'")

BENCHMARKS: dict[str, Callable[[Effort], Row]] = {
    function.__name__: function
    for function in (
        comparison.frame,
        comparison.dense,
        comparison.wide,
        scale.fleet,
        scale.top,
        timing.latency,
        storing.drain,
        storing.append,
        storing.write_ahead,
        scale.idle,
        timing.start,
        inner.decode,
        timing.scrape,
        viewing.page,
        inner.rx,
    )
}


@click.command(epilog="Benchmarks: " + ", ".join(BENCHMARKS))
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(BENCHMARKS)))
@click.option("--quick", is_flag=True, help="only see that all of it works; the figures mean nothing")
@click.option("--rounds", type=click.IntRange(1), help="how often each side is measured")
@click.option("--json", "file", type=click.Path(path_type=Path), help="put the rows into this file, beside others")
def main(names: tuple[str, ...], *, quick: bool, rounds: int | None, file: Path | None) -> None:
    """Measure on real parts, which are started here: C++ S7 servers, Mosquitto, Telegraf.

    Without names all benchmarks run. The figures of the README are made from tests/benchmarks/results.json by
    `python -m tests.benchmarks.publish`.
    """
    run = this_run(quick=quick)
    results, failed = Results(), []
    for name in names or BENCHMARKS:
        click.echo(f"{name}: {(BENCHMARKS[name].__doc__ or '').strip()}", err=True)
        try:
            row = BENCHMARKS[name](Effort(quick, rounds))
        except (AssertionError, OSError) as error:
            failed.append(f"{name}: {error}")
            click.echo(failed[-1], err=True)
            continue
        results.put(replace(row, run=run))
        if file is not None:
            kept = load(file)
            kept.put(results.rows[-1])
            save(kept, file)
    click.echo(table(results))
    if failed:
        sys.exit("\n".join(["failed:", *failed]))


if __name__ == "__main__":
    main()

"""`test [PATH…]`: runs the tests of graphs, `*.test.yaml`, in virtual time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from pipeline import log
from pipeline.cli import graph_file
from pipeline.errors import NOT_INSTALLED, ConfigurationError, PipelineError, Problem, Severity, UsageError
from pipeline.testing.cast import check_job
from pipeline.testing.judge import Failure, judge
from pipeline.testing.load import Job, find_suites, load_jobs
from pipeline.testing.report import Result, summary, told, write_junit
from pipeline.testing.run import perform

__all__ = ["command", "run_job"]

_FAILED, _BROKEN = 1, 2


@click.command(name="test")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("-k", "words", metavar="TEXT", default="", help="Only cases whose file or name has this in it.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write JUnit XML.")
def command(paths: tuple[Path, ...], words: str, junit: Path | None) -> int:
    """Test graphs: what PLCs give at which time, and the frames, messages, writes, metrics and states that must come.

    PATH is a test file (line.test.yaml), the graph beside it (line.yaml), or a folder; without one, this folder. The
    graph runs as it is, in virtual time, on PLCs, brokers and servers that are played: nothing is connected to, and
    files go into a folder that is gone afterwards. Exit codes: 0 all passed, 1 some failed, 2 a test file is wrong; the
    others are run.

    \b
    A test file:
      environment: {PLC_IP: 10.0.0.1, MQTT_BROKER: broker, TENANT_ID: acme, PLC_ID: press1}
      cases:
        a good part is counted:
          given:
            - {at: 2s, node: press, values: {contador_bom: 5014}}
          expect:
            published:
              - {at: 2s, topic: plc/acme/press1, payload: {values: {contador_bom: 5014}}}

    \b
    Examples:
      pipeline test configs/line1.yaml
      pipeline test configs/ -k broker --junit results.xml
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure(os.environ.get("LOG_LEVEL", "critical"))
    jobs, wrong = _jobs(paths or (Path(),))
    chosen = [job for job in jobs if words.lower() in f"{job.path} {job.name}".lower()]
    if words and not chosen and not wrong:
        raise UsageError(f"no case has '{words}' in its file or name; there are {len(jobs)}")
    results = list(wrong)
    for job in chosen:
        results.append(run_job(job))
        for line in told(results[-1]):
            click.echo(line)
    if chosen:
        click.echo(summary(results))
    if junit is not None:
        try:
            write_junit(results, junit)
        except OSError as error:
            raise UsageError(f"'{junit}' can't be written: {error.strerror or error}") from error
    return _BROKEN if wrong else _FAILED if any(result.failures for result in results) else 0


def run_job(job: Job) -> Result:
    """Run a case and judge what was seen."""
    began = time.perf_counter()
    try:
        seen = perform(job)
        failures, warnings = judge(job, seen), seen.told
    except PipelineError as error:
        failures, warnings = [Failure(line=job.places.line, what="can't be run", details=[str(error)])], []
    seconds = time.perf_counter() - began
    return Result(path=job.path, name=job.name, seconds=seconds, failures=failures, warnings=warnings)


def _jobs(paths: tuple[Path, ...]) -> tuple[list[Job], list[Result]]:
    """All cases of all test files that are right, and what is wrong with the others, which is told.

    Raises:
        UsageError: there is no test file.
    """
    jobs: list[Job] = []
    wrong: list[Result] = []
    problems: dict[Problem, None] = {}
    for path in dict.fromkeys(found for each in paths for found in _suites(each)):
        try:
            jobs += load_jobs(path, check_job)
        except ConfigurationError as error:
            if lacking := [problem for problem in error.problems if NOT_INSTALLED in problem.message]:
                # What was not installed can't be tested; that is no mistake of the files.
                click.echo(f"{path}: skipped: {lacking[0].message}", err=True)
            else:
                problems |= dict.fromkeys(error.problems)
                mistakes = [str(problem) for problem in error.problems]
                wrong.append(Result(path=path, name="the test file", seconds=0.0, mistakes=mistakes))
    if problems:
        click.echo(str(ConfigurationError(problems)), err=True)
        count = sum(problem.severity is Severity.ERROR for problem in problems)
        rest = ", no test was run" if not jobs else f"; not run: {', '.join(str(each.path) for each in wrong)}"
        click.echo(f"{count} problem{'s' if count != 1 else ''}{rest}", err=True)
    return jobs, wrong


def _suites(path: Path) -> list[Path]:
    if not path.exists():
        path = graph_file(str(path))
    found = find_suites(path)
    if not found:
        raise UsageError(f"'{path}' has no tests; write them into line.test.yaml beside line.yaml")
    if not found[0].name.endswith(".test.yaml"):
        raise UsageError(f"'{path}' has no tests; write them into {path.stem}.test.yaml beside it")
    return found

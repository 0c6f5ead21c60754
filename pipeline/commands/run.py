"""`run FILE` (or just FILE): runs a graph until it is told to stop."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import click
import structlog

from pipeline import log
from pipeline.cli import graph_file
from pipeline.clock import Clock
from pipeline.config import load
from pipeline.graph import Graph
from pipeline.hangup import hangup
from pipeline.lifetime import Lifetime
from pipeline.process import new_loop

__all__ = ["command", "run"]

_SECOND_SIGNAL = 130


@click.command(name="run")
@click.argument("file")
@click.option("--log-level", envvar="LOG_LEVEL", default="info", show_default=True, help="debug, info, warning, error.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    help="auto: text on a terminal, else JSON.",
)
@click.option("--watch", is_flag=True, help="Take a changed graph file as SIGHUP does, as soon as it is saved.")
def command(file: str, log_level: str, log_format: str, watch: bool) -> None:
    """Run a graph. Ctrl-C or SIGTERM stop it in order; a second one at once.

    SIGHUP reads the file anew. One with mistakes is refused, with all of them in the log, and what runs goes on. Else
    the graph starts anew in the same process, with its journals; `boot` stays and `seq` goes on without a gap.
    SIGUSR1 has the flight recorder write the latest minutes of what the PLCs answered, for `pipeline replay`.

    \b
    Examples:
      pipeline run configs/demo.yaml
      PLC_IP=192.168.0.121 MQTT_BROKER=broker.plant pipeline configs/line1.yaml
      pipeline line.yaml --watch
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure(log_level, None if log_format == "auto" else log_format == "json")
    path = graph_file(file)
    run(load(path, os.environ), lambda: load(path, os.environ), path if watch else None)


def run(graph: Graph, read: Callable[[], Graph] | None = None, watched: Path | None = None) -> None:
    """Run a graph in this process until a signal or the end of its sources.

    Args:
        graph: what runs first.
        read: gives the graph anew, when SIGHUP or a changed file asks for it; without it, it stays as it is.
        watched: the file whose changes count.

    Raises:
        PipelineError: a part failed for good; the rest was stopped in order.
    """
    with asyncio.Runner(loop_factory=new_loop()) as runner:
        runner.run(_main(graph, read or (lambda: graph), watched))


async def _main(graph: Graph, read: Callable[[], Graph], watched: Path | None) -> None:
    loop = asyncio.get_running_loop()
    lifetime = Lifetime(graph, Clock(loop), read)
    _on_signals(loop, lifetime)
    watching = loop.create_task(lifetime.watch(watched)) if watched else None
    try:
        await lifetime.run()
    finally:
        if watching is not None:
            watching.cancel()


def _on_signals(loop: asyncio.AbstractEventLoop, lifetime: Lifetime) -> None:
    stops = itertools.count()

    def stopping() -> None:
        if next(stops):
            os._exit(_SECOND_SIGNAL)
        structlog.get_logger().info("stopping", hint="a second signal ends at once")
        lifetime.stop()

    def hung_up() -> None:
        # The kernel sends the same signal when the terminal is closed: then nobody is there who would stop us.
        if hangup.terminal and not os.isatty(0):
            stopping()
        else:
            lifetime.reload()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopping)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping))
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, hung_up)
        if hangup.came:
            hung_up()
        loop.add_signal_handler(signal.SIGUSR1, lifetime.snapshot)
        if hangup.asked:
            lifetime.snapshot()

"""`run FILE` (or just FILE): runs a graph until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable

import click
import structlog

from pipeline import log
from pipeline.cli import graph_file
from pipeline.clock import Clock
from pipeline.config import load
from pipeline.graph import Graph
from pipeline.runtime import Runtime
from pipeline.web import server

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
def command(file: str, log_level: str, log_format: str) -> None:
    """Run a graph. Ctrl-C or SIGTERM stop it in order; a second one at once.

    \b
    Examples:
      pipeline run configs/demo.yaml
      PLC_IP=192.168.0.121 MQTT_BROKER=broker.plant pipeline configs/line1.yaml
    """  # noqa: D301 - \b is click's mark for text that is not re-wrapped
    log.configure(log_level, None if log_format == "auto" else log_format == "json")
    run(load(graph_file(file), os.environ))


def run(graph: Graph) -> None:
    """Run a graph in this process until a signal or the end of its sources.

    Raises:
        PipelineError: a part failed for good; the rest was stopped in order.
    """
    logger = structlog.get_logger()
    for warning in graph.warnings:
        logger.warning("graph warning", problem=str(warning))
    with asyncio.Runner(loop_factory=_new_loop()) as runner:
        runner.run(_main(graph))


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where it exists; Windows has asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _main(graph: Graph) -> None:
    loop = asyncio.get_running_loop()
    sockets = server.bind(graph.http) if graph.http else []
    logger = structlog.get_logger().bind(graph=graph.name)
    runtime = Runtime(graph, Clock(loop))
    stop = asyncio.Event()
    _on_signals(loop, stop)
    logger.info("started", boot=runtime.boot, nodes=len(graph.running()), pid=os.getpid())
    page = _page(graph, runtime, sockets, logger)
    # What was made so far lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    try:
        await runtime.run(stop)
    finally:
        if page is not None:
            page.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await page
        logger.info("stopped")


def _page(
    graph: Graph, runtime: Runtime, sockets: list[socket.socket], logger: structlog.typing.FilteringBoundLogger
) -> asyncio.Task[None] | None:
    if graph.http is None:
        return None
    return asyncio.get_running_loop().create_task(
        server.serve(graph.http, runtime, lambda url: logger.info("page", url=url), sockets), name="page"
    )


def _on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def stopping() -> None:
        if stop.is_set():
            os._exit(_SECOND_SIGNAL)
        structlog.get_logger().info("stopping", hint="a second signal ends at once")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopping)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopping))

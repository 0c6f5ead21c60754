"""The graphs of one process, one after the other: a changed file is checked, and takes the place of what runs.

A file with mistakes changes nothing, nor does one whose journals can't be opened. For a good one the whole graph starts
anew: the old one stops in order, which leaves everything unacknowledged on disk, and the new one goes on with the same
journals, `boot` and `seq`. Counters begin at zero, as after a restart. A new graph that fails at once gives its place
back to the one before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import math
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from pipeline.clock import Clock
from pipeline.config.http import Http
from pipeline.errors import JournalLocked, PipelineError, UsageError
from pipeline.graph import Graph
from pipeline.recording.flight import FlightRecorder, flight_recorder
from pipeline.runtime import Runtime
from pipeline.takeover import check_journals, left_behind
from pipeline.web import server

__all__ = ["Lifetime"]

_LOOK = 1.0
"""Seconds between two looks at a watched file; a change counts when it stands still from one to the next."""
_TRIAL = 30.0
"""Seconds in which a fatal error of a new graph brings the former one back."""
_UNLOCK = 1.0
"""Seconds until the next attempt, while the former graph's journal is still being closed on a slow disk."""


@dataclass
class _Turn:
    """A graph, and where its page listens. The sockets outlive the graph when the next one wants the same address."""

    graph: Graph
    sockets: list[socket.socket] = field(default_factory=list)

    def let_go(self, successor: _Turn | None = None) -> None:
        """Close the sockets that the successor doesn't take over."""
        if successor is None or successor.sockets is not self.sockets:
            for listening in self.sockets:
                listening.close()


class Lifetime:
    """Runs a graph, and each changed form of it that is asked for, until it is told to stop."""

    def __init__(self, graph: Graph, clock: Clock, read: Callable[[], Graph]) -> None:
        """Take the address of the page; nothing else starts.

        Args:
            graph: the first graph.
            clock: the one clock.
            read: reads the graph file anew, on another thread; raises PipelineError where it must not run.

        Raises:
            UsageError: the page's address is taken or not allowed.
        """
        self._clock = clock
        self._read = read
        self._turn = _Turn(graph, server.bind(graph.http) if graph.http else [])
        self._former: Graph | None = None
        self._trial_until = -math.inf
        self._halt = asyncio.Event()
        self._wanted = asyncio.Event()
        self._stopping = False
        self._recorder: FlightRecorder | None = None
        self._log = structlog.get_logger()

    def stop(self) -> None:
        """End what runs, in order, and then `run`."""
        self._stopping = True
        self._halt.set()

    def reload(self) -> None:
        """Read the file anew; see the module."""
        self._wanted.set()

    def snapshot(self) -> None:
        """Have the flight recorder write what it holds."""
        if self._recorder is not None:
            self._recorder.ask()
        else:
            hint = "its section `recorder` says `enabled: false`, or the graph is still starting: ask once more"
            self._log.warning("nothing recorded", error="the graph has no flight recorder that runs", hint=hint)

    async def watch(self, file: Path) -> None:
        """Ask for a reload whenever the file's content has changed; runs until cancelled.

        A file that is away, or that is still being written, is looked at again.
        """
        content = functools.partial(_content, file)
        loop = self._clock.loop
        taken = seen = await loop.run_in_executor(None, content)
        while True:
            await asyncio.sleep(_LOOK)
            found = await loop.run_in_executor(None, content)
            if found is not None and found == seen and found != taken:
                taken = found
                self.reload()
            seen = found

    async def run(self) -> None:
        """Run the graphs until `stop`, or until all sources of one have ended.

        Raises:
            PipelineError: a part failed for good; everything else was stopped in order.
        """
        runtime: Runtime | None = None
        turn: _Turn | None = self._turn
        try:
            while turn is not None:
                self._take(turn)
                runtime = Runtime(turn.graph, self._clock, runtime)
                turn = await self._live(runtime)
        finally:
            self._turn.let_go()

    # one turn

    def _take(self, turn: _Turn) -> None:
        """Make it the one that runs."""
        if turn is not self._turn:
            self._turn.let_go(turn)
            self._turn = turn
        if not self._stopping:
            self._halt.clear()

    async def _live(self, runtime: Runtime) -> _Turn | None:
        """Run one graph to its end; what follows it."""
        log = self._log.bind(graph=runtime.graph.name)
        for warning in runtime.graph.warnings:
            log.warning("graph warning", problem=str(warning))
        log.info("started", boot=runtime.boot, nodes=len(runtime.graph.running()), pid=os.getpid())
        recorder = self._recorder = flight_recorder(runtime.graph, self._clock, runtime.boot)
        runtime.recorder = recorder
        beside = [*self._page(runtime)]
        if recorder is not None:
            beside.append(self._clock.loop.create_task(recorder.run(runtime.actors), name="flight recorder"))
        # What was made so far lives as long as this graph: the collector need not look at it again.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        running = self._clock.loop.create_task(runtime.run(self._halt))
        successor = None
        try:
            successor = await self._successor(running, runtime)
            await running
        except Exception as error:  # noqa: BLE001 - raised again where nothing can follow
            successor = await self._after(error, successor)
        finally:
            await _end(running)
            for task in beside:
                await _end(task)
            log.info("stopped")
        successor = self._unless_stopping(successor)
        if successor is not None:
            await self._tell_left(runtime.graph, successor.graph)
        return successor

    async def _tell_left(self, former: Graph, graph: Graph) -> None:
        """Warn of frames that wait in a journal which nobody sends from any more."""
        sentences = await self._clock.loop.run_in_executor(None, lambda: list(left_behind(former, graph)))
        for sentence in sentences:
            self._log.warning("journal left behind", problem=sentence)

    async def _successor(self, running: asyncio.Task[None], runtime: Runtime) -> _Turn | None:
        """Wait until the graph ends by itself, or a good file is there to follow it."""
        while True:
            wanted = self._clock.loop.create_task(self._wanted.wait())
            await asyncio.wait((running, wanted), return_when=asyncio.FIRST_COMPLETED)
            wanted.cancel()
            if running.done():
                return None
            self._wanted.clear()
            turn = await self._check(runtime)
            if turn is not None and not running.done():
                self._log.info("graph file taken, the graph starts anew")
                self._former, self._trial_until = self._turn.graph, self._clock.loop.time() + _TRIAL
                self._halt.set()
                return turn

    async def _check(self, runtime: Runtime) -> _Turn | None:
        """The changed graph, None when it is refused."""
        background = functools.partial(self._clock.loop.run_in_executor, None)
        try:
            graph = await background(self._read)
            await background(check_journals, graph, runtime.graph, runtime.backlogs)
            return _Turn(graph, self._listen(graph.http))
        except Exception as error:  # noqa: BLE001 - no defect of what looks at a file ends the graph that runs
            known = isinstance(error, PipelineError)
            problems = str(error).splitlines() if known else [repr(error)]
            event = "graph file refused, the running graph goes on"
            self._log.error(event, count=len(problems), problems=problems, exc_info=None if known else error)
            return None

    async def _after(self, error: Exception, successor: _Turn | None) -> _Turn | None:
        """What follows a graph that has failed for good; that error is raised where nothing can."""
        successor = self._unless_stopping(successor)
        if successor is not None:
            self._log.error("the former graph did not end well", error=str(error), exc_info=error)
            return successor
        trial = not self._stopping and self._clock.loop.time() < self._trial_until
        if trial and isinstance(error, JournalLocked):
            await asyncio.sleep(_UNLOCK)
            return self._turn
        if not trial or self._former is None:
            raise error
        former, self._former = self._former, None
        self._log.error("the changed graph failed, the former one comes back", error=str(error), exc_info=error)
        return _Turn(former, self._listen(former.http))

    def _unless_stopping(self, turn: _Turn | None) -> _Turn | None:
        if turn is None or not self._stopping:
            return turn
        turn.let_go(self._turn)
        return None

    # the page

    def _listen(self, http: Http | None) -> list[socket.socket]:
        """The sockets for a graph that comes next: the present ones, when it wants the same address.

        Raises:
            UsageError: the address is taken or not allowed.
        """
        present = self._turn.graph.http
        if http is None:
            return []
        if present is not None and http.listen == present.listen:
            server.check_login(http, self._turn.sockets)
            return self._turn.sockets
        try:
            return server.bind(http)
        except UsageError as error:
            if present is None or http.port != present.port:
                raise
            raise UsageError(
                f"{error}; the running graph has that port itself: restart, or take another one"
            ) from error

    def _page(self, runtime: Runtime) -> Iterator[asyncio.Task[None]]:
        http = runtime.graph.http
        if http is None:
            return
        log = self._log.bind(graph=runtime.graph.name)
        sockets = [listening.dup() for listening in self._turn.sockets]
        page = server.serve(http, runtime, lambda url: log.info("page", url=url), sockets)
        yield self._clock.loop.create_task(page, name="page")


async def _end(task: asyncio.Task[None]) -> None:
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None

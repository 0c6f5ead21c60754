"""The way of a frame to its broker, step by step: name, TCP, TLS, login, and a canary on each topic.

The canary is a frame on the topic of the PLC's own frames, with the heartbeat 0. It is published with MQTT 5 whatever
`protocol` says, since MQTT 3.1.1 acknowledges what its access list denies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from pipeline.codecs import CODECS, Envelope
from pipeline.diagnosis import Diagnosis, Mark, Situation, reach
from pipeline.errors import LinkError
from pipeline.frame import Frame
from pipeline.mqtt.link import Answer, Link
from pipeline.mqtt.options import BrokerOptions, Version
from pipeline.mqtt.reasons import NO_SUBSCRIBER, REFUSED, explain_failure, judge_puback
from pipeline.units import Duration

__all__ = ["diagnose_broker"]


@dataclass(frozen=True, eq=False)
class _Canary:
    n: int
    topic: str
    body: bytes
    answer: asyncio.Future[tuple[int, str]]
    qos: int = 1


def _answered(answers: list[Answer]) -> None:
    for canary, code, said in answers:
        if isinstance(canary, _Canary):
            canary.answer.set_result((code, said))


async def diagnose_broker(
    options: BrokerOptions, situation: Situation, topics: Iterable[tuple[str, Frame]]
) -> AsyncIterator[Diagnosis]:
    """Find what stands between a frame and its broker.

    Args:
        options: the sink's or source's.
        situation: of the diagnosis.
        topics: where it publishes, each with a frame that may be published there.
    """
    explain = partial(explain_failure, tls=options.tls.enabled)
    async for found in reach(options.host, options.port, options.tls, options.connect_timeout, explain):
        yield found
        if found.mark is Mark.PROBLEM:
            return
    start = time.perf_counter()
    try:
        link, spoken = await _login(options, situation)
    except LinkError as error:
        yield Diagnosis.of("login", error)
        return
    who = f"as '{options.username}'" if options.username else "without a user name"
    yield Diagnosis(what="login", mark=Mark.GOOD, found=f"{who}, MQTT {spoken}", seconds=time.perf_counter() - start)
    if options.protocol is not spoken:
        found_text = f"protocol is {options.protocol}, and the broker speaks {spoken}"
        advice = f"set protocol: {spoken}" if spoken is Version.V5 else ""
        yield Diagnosis(what="protocol", mark=Mark.WARNING, found=found_text, advice=advice)
    try:
        for n, (topic, frame) in enumerate(topics):
            answer = asyncio.get_running_loop().create_future()
            canary = _Canary(n, topic, CODECS[Envelope.FULL].encode(frame), answer)
            yield await _fly(link, spoken, canary, options.connect_timeout)
    finally:
        await link.close(1)


async def _login(options: BrokerOptions, situation: Situation) -> tuple[Link, Version]:
    """Connect under a name that throws no running edge out; with MQTT 5 where the broker speaks it."""
    client = f"{options.client_id or situation.scope.graph}-doctor-{time.time_ns() % 10**9}"

    async def connect(version: Version) -> tuple[Link, Version]:
        wanted = msgspec.structs.replace(options, protocol=version)
        link = Link(await asyncio.to_thread(wanted.access, client), _answered)
        await link.open(options.connect_timeout)
        return link, version

    try:
        return await connect(Version.V5)
    except LinkError as error:
        if error.reason != "protocol":
            raise
    return await connect(Version.V311)


async def _fly(link: Link, spoken: Version, canary: _Canary, patience: Duration) -> Diagnosis:
    start = time.perf_counter()
    unfit: list[str] = []
    link.publish([canary], lambda _, reason: unfit.append(reason))
    awaited: set[asyncio.Future[Any]] = {canary.answer, link.ended}
    await asyncio.wait(awaited, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    tell = partial(Diagnosis, what="publish", part=canary.topic)
    if not canary.answer.done():
        if link.ended.done():
            return Diagnosis.of("publish", link.ended.result(), canary.topic)
        found = unfit[0] if unfit else f"no acknowledgement within {patience}"
        return tell(mark=Mark.PROBLEM, found=found, advice="the broker hangs, or its disk is full: look into its log")
    code, said = canary.answer.result()
    tell = partial(tell, seconds=time.perf_counter() - start)
    if code >= REFUSED:
        refusal = judge_puback(code)
        found = f"refused: {refusal.reason}{f' ({said})' if said else ''}"
        return tell(mark=Mark.PROBLEM, found=found, advice=refusal.advice)
    if spoken is Version.V311:
        found = "acknowledged, which MQTT 3.1.1 does for denied topics too"
        return tell(mark=Mark.NOTE, found=found, advice="see whether a subscriber gets it")
    if code == NO_SUBSCRIBER:
        advice = "start Telegraf, or whoever stores the frames; is it subscribed to this topic?"
        return tell(mark=Mark.WARNING, found="taken, but nobody at the broker stores it", advice=advice)
    return tell(mark=Mark.GOOD, found="taken and stored")

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

import msgspec

from pipeline.codecs import CODECS, Envelope
from pipeline.diagnosis import Diagnosis, Mark, Situation, reach
from pipeline.errors import LinkError
from pipeline.frame import Frame
from pipeline.mqtt.link import Answer, Link
from pipeline.mqtt.options import BrokerOptions, Version
from pipeline.mqtt.reasons import explain_failure, judge_puback

__all__ = ["diagnose_broker"]

_NOBODY = 0x10
_REFUSED = 0x80


@dataclass(frozen=True)
class _Canary:
    n: int
    topic: str
    body: bytes
    qos: int = 1


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
    answers: asyncio.Queue[list[Answer]] = asyncio.Queue()
    start = time.perf_counter()
    try:
        link, spoken = await _login(options, situation, answers)
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
            yield await _fly(link, spoken, answers, _Canary(n, topic, CODECS[Envelope.FULL].encode(frame)), options)
    finally:
        await link.close(1)


async def _login(
    options: BrokerOptions, situation: Situation, answers: asyncio.Queue[list[Answer]]
) -> tuple[Link, Version]:
    """Connect under a name that throws no running edge out; with MQTT 5 where the broker speaks it."""
    client = f"{options.client_id or situation.scope.graph}-doctor-{time.time_ns() % 10**9}"
    for version in (Version.V5, Version.V311):
        wanted = msgspec.structs.replace(options, protocol=version)
        link = Link(await asyncio.to_thread(wanted.access, client), answers.put_nowait)
        try:
            await link.open(options.connect_timeout)
        except LinkError as error:
            if error.reason != "protocol" or version is Version.V311:
                raise
        else:
            return link, version
    raise LinkError("protocol", "the broker speaks neither MQTT 5 nor 3.1.1")


async def _fly(
    link: Link, spoken: Version, answers: asyncio.Queue[list[Answer]], canary: _Canary, options: BrokerOptions
) -> Diagnosis:
    start = time.perf_counter()
    unfit: list[str] = []
    link.publish([canary], lambda _, reason: unfit.append(reason))
    link.ended.add_done_callback(lambda _: answers.put_nowait([]))
    try:
        async with asyncio.timeout(options.connect_timeout):
            came = await answers.get()
    except TimeoutError:
        came = []
    if not came:
        if link.ended.done():
            return Diagnosis.of("publish", link.ended.result(), canary.topic)
        found = unfit[0] if unfit else f"no acknowledgement within {options.connect_timeout}"
        advice = "the broker hangs, or its disk is full: look into its log"
        return Diagnosis(what="publish", mark=Mark.PROBLEM, found=found, advice=advice, part=canary.topic)
    ((_, code, said),) = came
    taken = time.perf_counter() - start
    if code >= _REFUSED:
        refusal = judge_puback(code)
        found = f"refused: {refusal.reason}{f' ({said})' if said else ''}"
        return Diagnosis(
            what="publish", mark=Mark.PROBLEM, found=found, advice=refusal.advice, part=canary.topic, seconds=taken
        )
    if spoken is Version.V311:
        found, advice = "acknowledged, which MQTT 3.1.1 does for denied topics too", "see whether a subscriber gets it"
        return Diagnosis(what="publish", mark=Mark.NOTE, found=found, advice=advice, part=canary.topic, seconds=taken)
    if code == _NOBODY:
        found = "taken, but nobody at the broker stores it"
        advice = "start Telegraf, or whoever stores the frames; is it subscribed to this topic?"
        return Diagnosis(
            what="publish", mark=Mark.WARNING, found=found, advice=advice, part=canary.topic, seconds=taken
        )
    return Diagnosis(what="publish", mark=Mark.GOOD, found="taken and stored", part=canary.topic, seconds=taken)

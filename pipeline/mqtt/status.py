"""What a publisher says of itself: retained `online` and `offline` on one topic, which is also its last will."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from pipeline.delivery.delivery import Delivery
from pipeline.mqtt.topics import fill
from pipeline.operator import Context

__all__ = ["Status"]

FIRST_FRAME = 5.0
"""Seconds to wait for the tenant's name, which only frames tell."""


class Status:
    """Topic and payloads of one sink's status."""

    def __init__(self, template: str, context: Context, delivery: Delivery) -> None:
        """Make it.

        Args:
            template: with `{tenant_id}`, `{graph}`, `{node}`; empty: nothing is said.
            context: names graph, node and boot.
            delivery: knows the last `seq` of each PLC.
        """
        self._template = template
        self._context = context
        self._delivery = delivery
        self._tenant = ""
        self._known = asyncio.Event()

    def __bool__(self) -> bool:
        """False when nothing is to be said."""
        return bool(self._template)

    def know(self, tenant_id: str) -> None:
        """The first frame has come; what it says of the tenant counts for this process."""
        if not self._known.is_set():
            self._tenant = tenant_id
            self._known.set()

    async def ready(self) -> None:
        """Return when the topic can be filled, or after a while; a tenant that is unset then is written `-`."""
        if "{tenant_id}" in self._template:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._known.wait(), FIRST_FRAME)

    @property
    def topic(self) -> str:
        """Where it is said."""
        fields = {"tenant_id": self._tenant or "-", "graph": self._context.graph, "node": self._context.node}
        return fill(self._template, fields)[0]

    @property
    def online(self) -> bytes:
        """Said after each connect."""
        return self._say("online")

    @property
    def offline(self) -> bytes:
        """Said before a wanted disconnect: `last_seq` is final."""
        return self._say("offline", clean=True)

    @property
    def will(self) -> bytes:
        """Said by the broker when we vanish: `ts` and `last_seq` are those of the connect."""
        return self._say("offline", clean=False)

    def _say(self, status: str, **more: object) -> bytes:
        ts = round(self._context.clock.wall(), 3)
        last = dict(self._delivery.last_seq)
        return msgspec.json.encode({"status": status, "boot": self._context.boot, "ts": ts, **more, "last_seq": last})

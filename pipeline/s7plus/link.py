"""One connection to one PLC, over the asynchronous client of `s7commplus`, with our own time-outs around each call.

What the client lacks is here: it has no time-outs at all; a cancelled request leaves it in the middle of the stream; a
failed login leaves its connection open; its multi-read drops the reason why an item has no value; its login has no
user name; saying goodbye may wait for ever. So whatever fails ends the connection, and the owner opens another. On
sessions with a legacy session key the client starts one task, which renews that key; `drop` and `close` end it.

Private names of the package are used here and in `program` only; it is pinned, and a test names them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from s7commplus import AsyncClient, SubscriptionItem, SubscriptionNotification
from s7commplus.client import _build_multi_symbolic_read_payload, _parse_read_response
from s7commplus.codec import decode_pvalue_to_bytes
from s7commplus.protocol import DataType, FunctionCode, service_result_code
from s7commplus.subscription import parse_subscription_notification
from s7commplus.vlq import decode_uint32_vlq, decode_uint64_vlq

from pipeline.errors import ReadError, Refused
from pipeline.s7plus.explain import Denied, explain, is_locked, refused_item

__all__ = ["Address", "Door", "Link", "Request", "connect"]

T = TypeVar("T")
Address = tuple[int, tuple[int, ...]]
"""Where a value is: the block's (or the area's) object, then its local ids."""

_GOODBYE = 1.0
_QUIRK = b"\x00\x04\x00\x00\x00\x00"
_LONG = 0x80
"""From here on a number takes more than one byte."""
_FIXED = {
    bytes([0, kind]): size
    for size, kinds in {
        1: (DataType.BOOL, DataType.BYTE, DataType.USINT, DataType.SINT),
        2: (DataType.WORD, DataType.UINT, DataType.INT),
        4: (DataType.DWORD, DataType.REAL),
        8: (DataType.LWORD, DataType.LREAL, DataType.TIMESTAMP),
    }.items()
    for kind in kinds
}
"""Bytes of a scalar by its flags and type, where they don't depend on the value."""
_STAGES = (
    ("waiting for the TCP connection", "check that the PLC is on, and cable, network and `address`"),
    ("the host answers, but opens no S7CommPlus session", "is it an S7-1200 or S7-1500? does it demand `tls`?"),
    ("the session is open, but not confirmed", "the PLC may be overloaded; raise `timeout`"),
)


@dataclass(frozen=True, kw_only=True)
class Door:
    """A PLC and how to get in.

    Attributes:
        address: host name or IP address.
        port: TCP port.
        role: whom the PLC takes us for.
        timeout: seconds for the connection, and for each answer.
        secure: TLS.
        fingerprint: SHA-256 of the certificate, hexadecimal; "" for none.
        ca_file: PEM file of the trusted authorities; "" for none.
        cert_file: PEM file of our certificate; "" for none.
        key_file: PEM file of our key.
        username: of the CPU's user; "" for an access level's password.
        password: "" for none.
    """

    address: str
    port: int
    role: Literal["hmi", "es", "pg"] = "hmi"
    timeout: float
    secure: bool = False
    fingerprint: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = ""


@dataclass(frozen=True)
class Request:
    """A multi-read, encoded once.

    Attributes:
        payload: what is sent, but for header, number and integrity.
        count: of items.
    """

    payload: bytes
    count: int


async def connect(door: Door) -> Link:
    """Open a session, login included, within the door's time-out.

    Raises:
        ReadError: the PLC can't be reached, or (`Refused`) says no.
    """
    link = Link(door)
    try:
        async with asyncio.timeout(door.timeout):
            await link.connect(
                door.address,
                door.port,
                use_tls=door.secure,
                tls_cert=door.cert_file or None,
                tls_key=door.key_file or door.cert_file or None,
                tls_ca=door.ca_file or None,
                tls_cert_fingerprint=door.fingerprint or None,
                password=door.password or None,
                connection_type=door.role,
            )
    except BaseException as error:
        stage, advice = link.stage
        link.drop()
        if isinstance(error, TimeoutError):
            raise ReadError("timeout", stage, advice) from error
        if isinstance(error, Exception):
            raise explain(error, opening=True) from error
        raise
    return link


class Link(AsyncClient):
    """A session. Only one call at a time makes sense: requests wait for each other."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door

    # getting in and out

    @property
    def stage(self) -> tuple[str, str]:
        """What is being waited for until the session is open, and what to do about it."""
        return _STAGES[2 if self.session_id else self._transport_connected]

    @property
    def is_gone(self) -> bool:
        """Whether the PLC has ended the connection, while nobody waited for it."""
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            return True
        return reader.at_eof() or reader.exception() is not None or writer.is_closing()

    async def authenticate(self, password: str, username: str = "") -> None:
        """Log in; the client's `connect` knows no user name."""
        await super().authenticate(password, username or self._door.username)

    def drop(self) -> None:
        """End the connection at once, without a word to the PLC; the stream is not to be trusted."""
        self._stop_session_key_refresh()
        self._connected = self._session_ready = self._transport_connected = False
        if self._writer is not None:
            self._writer.transport.abort()
        self._writer = self._reader = None

    async def close(self) -> None:
        """End the session in order, which frees it in the PLC at once; bounded."""
        writer = self._writer
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_GOODBYE):
                await self.disconnect()
        if writer is not None:
            writer.transport.abort()
        self.drop()

    async def ask(self, call: Awaitable[T], patience: float = 0.0) -> T:
        """Await a call of the client for at most `patience` seconds (the door's time-out unless told).

        Raises:
            ReadError: it failed; the connection has ended.
            Refused: the PLC said no; the connection lives.
        """
        patience = patience or self._door.timeout
        try:
            async with asyncio.timeout(patience):
                return await call
        except Refused:
            raise
        except TimeoutError as error:
            self.drop()
            raise ReadError("timeout", f"no complete answer within {patience:g} s") from error
        except Exception as error:
            self.drop()
            raise explain(error) from error
        except asyncio.CancelledError:
            self.drop()
            raise

    # reading

    def request(self, addresses: Sequence[Address]) -> Request:
        """Encode a multi-read."""
        items = [(area, list(lids)) for area, lids in addresses]
        return Request(_build_multi_symbolic_read_payload(items, self.object_qualifier_version), len(addresses))

    def room(self) -> int:
        """Bytes that a multi-read's payload may have."""
        return self.max_request_bytes - self._frame_overhead()

    async def read(self, request: Request) -> list[bytes | int]:
        """Each item's bytes (big-endian, as in the PLC's memory), or its error code.

        Raises:
            Denied: the PLC refused the request as a whole.
            ReadError: it did not answer, or not to the question; the connection has ended.
        """
        return await self.ask(self._read(request))

    async def _read(self, request: Request) -> list[bytes | int]:
        answer = await self._send_request(FunctionCode.GET_MULTI_VARIABLES, request.payload)
        if request.count == 1 and len(answer) == len(_QUIRK) + 2 and answer.endswith(_QUIRK):
            return [raw or b"" for raw in _parse_read_response(answer, 1)]  # an S7-1200's single byte
        whole, at = decode_uint64_vlq(answer, 0)
        if whole:
            raise self.refusal(service_result_code(whole))
        return _items(answer, at, request.count)

    @property
    def is_locked(self) -> bool:
        """Whether this session may read nothing."""
        return is_locked(self.protection_level)

    def refusal(self, code: int) -> Denied:
        """Why the PLC gives no value."""
        unsent = bool(self._door.password) and not self.tls_active and self._session_key is None
        return refused_item(code, self.protection_level, unsent=unsent)

    # subscriptions

    async def subscribe(self, addresses: Sequence[Address], cycle: float) -> None:
        """Let the PLC send what changes; references count from 1 in the order of the addresses.

        Raises:
            Refused: the CPU grants none.
            ReadError: it did not answer; the connection has ended.
        """
        items = [SubscriptionItem(area, lids, reference_id=n) for n, (area, lids) in enumerate(addresses, 1)]

        async def create() -> None:
            try:
                await self.create_subscriptions(items, cycle_ms=max(1, round(cycle * 1000)))
            except RuntimeError as error:  # what the package raises where the PLC says no
                raise Refused("no subscription", str(error)) from error

        await self.ask(create())

    async def notifications(self) -> list[SubscriptionNotification]:
        """What has come with the answers so far. Their queue is bounded; `missed` tells whether that was too little."""
        found: list[SubscriptionNotification] = []
        while self._notification_frames:
            news = parse_subscription_notification(self._notification_frames.popleft())
            matched, credit = self._subscriptions.route(news)
            if matched:
                found.append(news)
                self._subscriptions.pop(news.subscription_id)
            if credit is not None:
                await self._send_subscription_credit(news.subscription_id, credit)
        return found

    @property
    def missed(self) -> int:
        """Notifications that were lost on the way."""
        states = [self.subscription_diagnostics(number) for number in self._subscriptions.subscription_ids]
        return self._notification_frame_overflows + sum(
            state.missed_sequence_updates + state.dropped_notifications for state in states
        )


def _items(answer: bytes, at: int, count: int) -> list[bytes | int]:
    """Values by number, a zero, errors by number, a zero: exactly one for each item."""
    found: list[bytes | int | None] = [None] * count
    for take in (_value, _code):
        while at < len(answer):
            number, size = (answer[at], 1) if answer[at] < _LONG else decode_uint32_vlq(answer, at)
            at += size
            if not number:
                break
            if number > count or found[number - 1] is not None:
                raise ValueError(f"item {number} of {count} answered twice, or never asked")
            found[number - 1], at = take(answer, at)
    complete = [value for value in found if value is not None]
    if len(complete) != count or at > len(answer):
        raise ValueError(f"{len(complete)} of {count} items answered")
    return complete


def _value(answer: bytes, at: int) -> tuple[bytes, int]:
    """The bytes of a value, and where the next begins. Most are scalars of a fixed size."""
    if size := _FIXED.get(answer[at : at + 2]):
        return answer[at + 2 : at + 2 + size], at + 2 + size
    raw, size = decode_pvalue_to_bytes(answer, at)
    return raw, at + size


def _code(answer: bytes, at: int) -> tuple[int, int]:
    value, size = decode_uint64_vlq(answer, at)
    return service_result_code(value), at + size

"""What brokers say with a number, in words: refused connections, closed ones, refused messages. Plain data.

Numbers are MQTT 5's reason codes (sections 3.2.2.2, 3.4.2.1 and 3.14.2.1 of the standard) and MQTT 3.1.1's return
codes.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from pipeline.errors import LinkError
from pipeline.tls import explain_tls

__all__ = [
    "NOT_AUTHORISED",
    "NO_SUBSCRIBER",
    "REFUSED",
    "TAKEN_OVER",
    "Refusal",
    "explain_disconnect",
    "explain_failure",
    "explain_refusal",
    "judge_puback",
    "judge_suback",
]

TAKEN_OVER = 0x8E

# Code of CONNACK -> reason, detail, advice. Codes below 0x80 are MQTT 3.1.1's.
_CONNACK = {
    0x01: ("protocol", "the broker does not speak this version of MQTT", "set protocol: 3.1.1 (or back to 5)"),
    0x02: ("login", "the broker does not accept the client id", "set client_id: to letters and digits, at most 23"),
    0x03: ("busy", "the broker is not available", ""),
    0x04: ("login", "user name or password is wrong", "check username and password"),
    0x05: ("login", "not authorised", "check username, password and the broker's access list"),
    0x80: ("busy", "the broker gives no reason", "look into its log"),
    0x82: ("protocol", "the broker saw a protocol error", "look into its log"),
    0x84: ("protocol", "the broker does not speak MQTT 5", "set protocol: 3.1.1"),
    0x85: ("login", "the broker does not accept the client id", "set client_id: to letters and digits, at most 23"),
    0x86: ("login", "user name or password is wrong", "check username and password"),
    0x87: ("login", "not authorised", "check username, password and the broker's access list"),
    0x88: ("busy", "the broker is not available", ""),
    0x89: ("busy", "the broker is busy", ""),
    0x8A: ("login", "this client is banned", "ask who runs the broker"),
    0x8C: ("login", "the broker wants another way to log in", "only user name, password and certificates are spoken"),
    0x90: ("status topic", "the broker refuses the status topic", "set status_topic:"),
    0x95: ("status topic", "the last will is too large for the broker", ""),
    0x97: ("busy", "a quota of the broker is exceeded", ""),
    0x99: ("status topic", "the broker refuses the last will's payload", ""),
    0x9A: ("status topic", "the broker keeps no retained messages", 'set status_topic: ""'),
    0x9B: ("status topic", "the broker does not grant the last will's quality of service", 'set status_topic: ""'),
    0x9C: ("moved", "the broker asks to use another server", "set host:"),
    0x9D: ("moved", "the broker has moved", "set host:"),
    0x9F: ("busy", "too many connections in a short time", ""),
}

# Code of a DISCONNECT that the broker sends.
_DISCONNECT = {
    0x81: ("protocol", "the broker could not parse a packet", "look into its log"),
    0x82: ("protocol", "the broker saw a protocol error", "look into its log"),
    0x87: ("login", "not authorised any more", "check username, password and the broker's access list"),
    0x89: ("busy", "the broker is busy", ""),
    0x8B: ("lost", "the broker is shutting down", ""),
    0x8D: ("lost", "the broker heard nothing for too long", "the network loses packets, or keep_alive is too short"),
    TAKEN_OVER: (
        "taken over",
        "another client has connected with our client id",
        "find the second copy of this pipeline, or give one of them another client_id",
    ),
    0x90: ("poison", "the broker refused a topic", ""),
    0x93: ("protocol", "more messages in flight than the broker allows", "lower inflight:"),
    0x94: ("protocol", "a topic alias was refused", ""),
    0x95: ("poison", "a message was too large for the broker", "raise its limit, or send smaller blocks"),
    0x96: ("busy", "too many messages in a short time", "set journal drain_rate:"),
    0x97: ("busy", "a quota of the broker is exceeded", ""),
    0x98: ("lost", "closed by who runs the broker", ""),
    0x99: ("poison", "a payload was refused", ""),
    0x9B: ("protocol", "the broker does not grant this quality of service", "set qos: 0"),
    0x9C: ("moved", "the broker asks to use another server", "set host:"),
    0x9D: ("moved", "the broker has moved", "set host:"),
}


@dataclass(frozen=True)
class Refusal:
    """A message that the broker did not take.

    Attributes:
        reason: a short constant, for metrics and dead letters.
        permanent: the same message will be refused for ever: it goes to the dead letters.
        advice: what to do.
    """

    reason: str
    permanent: bool
    advice: str = ""


REFUSED, NO_SUBSCRIBER, NOT_AUTHORISED = 0x80, 0x10, 0x87
"""Reason codes: refusals begin with the first; taken, though nobody subscribes; denied."""

# Code of PUBACK. "Not authorised" counts as permanent: a topic that is denied must not keep others waiting, and
# where all are denied the delivery's breaker soon opens, so that most of it waits in the journal and not here.
_PUBACK = {
    NO_SUBSCRIBER: Refusal("no subscriber", permanent=False, advice="start what should store the frames"),
    REFUSED: Refusal("unspecified error", permanent=False),
    0x83: Refusal("implementation error", permanent=False),
    NOT_AUTHORISED: Refusal(
        "not authorised",
        permanent=True,
        advice="allow this user to write the topic in the broker's ACL, then send them again: on the page's Journal, "
        "or with the pipeline stopped by `pipeline journal requeue`",
    ),
    0x90: Refusal("topic refused", permanent=True, advice="set another topic"),
    0x91: Refusal("packet identifier in use", permanent=False),
    0x95: Refusal("packet too large", permanent=True, advice="raise the broker's limit, or send smaller blocks"),
    0x97: Refusal("quota exceeded", permanent=False),
    0x99: Refusal("payload refused", permanent=True),
}


def judge_puback(code: int) -> Refusal:
    """What a PUBACK's code (0x10 and from 0x80) means for its message; unknown codes count as transient."""
    return _PUBACK.get(code) or Refusal(f"reason 0x{code:02x}", permanent=False)


# Code of SUBACK from 0x80 on.
_SUBACK = {
    0x87: "not authorised; allow this user to read the topic in the broker's access list",
    0x8F: "the broker refuses the filter",
    0x91: "packet identifier in use",
    0x97: "a quota of the broker is exceeded",
    0x9E: "the broker has no shared subscriptions",
    0xA2: "the broker has no wildcards",
}


def judge_suback(code: int, qos: int) -> str:
    """Why a filter is not granted as asked, "" when it is; codes below 0x80 are the quality of service granted."""
    if code >= REFUSED:
        return _SUBACK.get(code, f"the broker refuses it with reason 0x{code:02x}")
    return "the broker grants QoS 0 only, so messages may be lost" if code < qos else ""


def explain_refusal(code: int, said: str = "") -> LinkError:
    """What a CONNACK's code means; `said` is the broker's own text."""
    reason, detail, advice = _CONNACK.get(code, ("refused", f"the broker refused with reason 0x{code:02x}", ""))
    return LinkError(reason, f"{detail} ({said})" if said else detail, advice)


def explain_disconnect(code: int, said: str = "") -> LinkError:
    """What a DISCONNECT's code means; `said` is the broker's own text."""
    reason, detail, advice = _DISCONNECT.get(code, ("lost", f"the broker closed with reason 0x{code:02x}", ""))
    return LinkError(reason, f"{detail} ({said})" if said else detail, advice)


def explain_failure(error: BaseException | None, host: str, port: int, *, tls: bool) -> LinkError:
    """What a failed attempt to connect, or an end without a word, means and what to do about it."""
    where = f"{host}:{port}"
    if isinstance(error, LinkError):
        return error
    if isinstance(error, socket.gaierror):
        return LinkError("name", f"'{host}' can't be resolved ({error.strerror})", "check host and the name server")
    if isinstance(error, ssl.SSLError):
        found = explain_tls(error)
        return LinkError(found.reason, f"{where}: {found.detail}", found.advice)
    if isinstance(error, OSError) and not isinstance(error, ConnectionResetError | BrokenPipeError):
        reason, detail, advice = _explain_socket(error)
        return LinkError(reason, f"{where}: {detail}", advice)
    if tls:
        advice = "does this port speak TLS? does the broker ask for tls.cert_file?"
    else:
        advice = "does this port ask for TLS? then set tls: {enabled: true}"
    return LinkError("lost", f"{where} closed the connection before it answered", advice)


def _explain_socket(error: OSError) -> tuple[str, str, str]:
    if isinstance(error, ConnectionRefusedError):
        return "refused", "nothing listens there", "is the broker running? is `port` right? 8883 is usual with TLS"
    if isinstance(error, TimeoutError):
        return "timeout", "no answer", "check host, cable and firewall"
    return "unreachable", error.strerror or str(error), "check host, cable and routes"

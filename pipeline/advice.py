"""What to do about texts that don't say it themselves: reasons of states and metrics, parts of longer messages.

A message of its own has its hint in the code, where who meets it reads it too. What stands here is for the page alone:
reasons such as `timeout`, which state and metric show as a word, and what is filled into a message with another hint.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ADVICE", "OF_PARTS", "advice"]

_BOUNDS = "write a value as the message says; the option's row in `operators/README.md` has its bounds and its default"
_DISK = "free space, or mend or replace the disk; look into the system's log"
_FILE = "name a file that is there and that this user may read"
_IN_PLC = "compare address and type with the data block; a tag of another type gives such values"
_ITSELF = "nothing: the part connects again by itself; where it comes often, look at network and device"
_LOAD = "nothing: it is sent again by itself; where it stays, the receiver needs more room, or gets too much"
_MADE = "set the value that is written as the message says; it stands in a test, or in the simulated PLC's `values`"
_PROGRAM = "report it, with what the log says: only a defect of this program, or of a package, says this"
_PROTOCOL = "does something else listen at this address, or stand between? Name the device itself"
_SERVER_LOG = "look into the receiver's own log, which says why; it is tried again"
_READABLE = "make the file readable for the user that runs the pipeline; it is read again at the next attempt"
_SLOW = "is the PLC overloaded, or the line slow? Raise `timeout`, read fewer bytes, or more seldom"
_TEST = "the operator has changed, or the expectation is wrong: mend one of them"
_NUMBERS = "look it up in the data block: its number, and the column of offsets, which counts bytes from 0"

ADVICE: Mapping[str, Mapping[str, str]] = {
    "JournalError": {
        "journal '…' is not open": "nothing: the sink opens it again; the reason stands in the line before",
        "sent again, but also kept as dead letters: …": "mend the disk; requeued once more they would come twice",
        "journal '…' can't be read: …": "let the user of the pipeline read it; what is damaged is moved aside at the "
        "next start",
        "journal '…' has no dead letter … that can be sent again": "take a number that `journal show --dead` lists",
    },
    "JournalUnwritable": {"journal '…' can't be written: …": _DISK + "; frames wait in memory as long as they can"},
    "LinkError": {
        **dict.fromkeys(
            (
                "busy: a quota of the broker is exceeded",
                "busy: the broker is busy",
                "busy: the broker is not available",
                "busy: too many connections in a short time",
                "busy: the server does not want the request yet",
                "busy: the server is not available now",
                "timeout: the server did not get the request in time",
            ),
            _LOAD,
        ),
        **dict.fromkeys(
            (
                "closed",
                "lost: closed by who runs the broker",
                "lost: given up",
                "lost: the broker is shutting down",
                "lost: the connection broke (…)",
            ),
            _ITSELF,
        ),
        **dict.fromkeys(
            (
                "login: password file '…' can't be read (…)",
                "login: secret file '…' can't be read (…)",
                "login: token file '…' can't be read (…)",
                "url: file '…' can't be read (…)",
            ),
            _READABLE,
        ),
        **dict.fromkeys(
            (
                "hung up: the broker closed the connection without a word",
                "refused: the broker hung up after it refused a message (…)",
                "subscription: …",
                "…: … (…)",
                "…: … (status ……)",
            ),
            _SERVER_LOG,
        ),
        "poison: a payload was refused": "the frame is a dead letter: look at it by `journal show --dead`",
        "poison: the broker refused a topic": "let the broker's ACL allow the topic, then `journal requeue`",
        "protocol: a topic alias was refused": _SERVER_LOG,
        "status topic: the broker refuses the last will's payload": "let the broker allow the status message, or set "
        "`status_topic` to an empty text",
        "status topic: the last will is too large for the broker": "set `status_topic` to an empty text, or raise the "
        "broker's limit",
        "…: the server points elsewhere (status …), which is not followed (status ……)": "write the address that it "
        "points to",
        "url: can't be posted to: …": "write https://host/path into the file",
        "tls: …": "check certificate, name and clock by `pipeline doctor`",
        "tls: … (…)": "check certificate, name and clock by `pipeline doctor`",
    },
    "PartFailed": {
        "sink '…': … frames are lost, since it took none before the stop…": "mend what the reason says: a sink "
        "that can't open its journal has nowhere to keep them",
        "sink '…' has not got all: …": "mend what the log says of the sink, and replay again: what waits on disk is "
        "sent first",
        "sink '…': …": "mend what the reason says, and start the graph again",
        "sink '…': … frames are neither acknowledged nor on disk": _DISK + "; those frames are lost",
        "topic '…' can't be filled for …, it would be too long": "shorten the topic, or the tags in it",
        "topic '…' can't be filled for …, which has no …": "give the source that tag, or take it out of `topic`",
        "'…' can't be written: …": _DISK,
        "recording '…' can't be written: …": _DISK,
        "no more frames come: …": "look whether the graph still runs and has this node, then call the command again",
        "the connection to the pipeline at … was lost: …": "look whether it still runs, then call the command again",
    },
    "ReadError": {
        "connection lost: the recording does not say why": "nothing: the line broke when it was recorded",
        "not in the recording: nothing from …:… is in it": "replay it with the graph that it was made with",
        "connection lost: disconnected by the PLC": "are its connections used up? Close others, or raise their number "
        "in the hardware configuration",
        **dict.fromkeys(
            (
                "connection lost: …",
                "connection lost: closed by the PLC",
                "connection lost: the session has ended",
            ),
            _ITSELF,
        ),
        **dict.fromkeys(
            (
                "invalid answer: data before the connection was confirmed",
                "invalid answer: not an answer to a write request: …",
                "invalid answer: the connection was confirmed twice",
                "invalid answer: …",
                "invalid answer: …: …",
            ),
            _PROTOCOL,
        ),
        **dict.fromkeys(("timeout", "timeout: no complete answer within … s", "timeout: …"), _SLOW),
    },
    "Refusal": {
        "implementation error": _SERVER_LOG,
        "packet identifier in use": _ITSELF,
        "payload refused": "the frame is a dead letter: look at it by `journal show --dead`",
        "quota exceeded": _LOAD,
        "reason 0x…": _SERVER_LOG,
        "unspecified error": _SERVER_LOG,
    },
    "Refused": {
        "invalid answer: a block list of … bytes": _PROTOCOL,
        "invalid answer: it has no end": _PROTOCOL,
        "refused: …": "allow it in the PLC: PUT/GET access, protection level, standard block access; `pipeline doctor` "
        "tells which",
        "no subscription: …": "nothing: the values are asked for one by one",
    },
    "UsageError": {
        **dict.fromkeys(
            (
                "'…' can't be read: …",
                "recording '…' can't be read: …",
                "the login can't be read from '…': …",
            ),
            _FILE,
        ),
        **dict.fromkeys(
            (
                "--topic: …",
                "--for: …",
                "--filter: …",
                "--every: …",
                "--every …: not more often than every …",
                "…: must be … to …, got …",
            ),
            "write it as the reason says; `--help` has an example",
        ),
        "'…' is none of the files that can be imported: sources of TIA Portal (.db, .udt, .scl) and STEP 7 (.awl), tag "
        "tables (.xml, .csv, .sdf, .asc), Kepware's .csv, Node-RED's .json, the first agent's config.yaml": "export it "
        "as one of these",
        "--size: DB… has … bytes, not …": "leave it out: the PLC says how long the block is",
        "'…' can't be written: …": "name a file or folder that this user may write",
        "graph '…' has no source whose answers can be recorded (its types: …)": "record a graph with an S7 source",
        "graph '…' has no S7 source": "name a source of the graph that reads an S7 PLC",
        "a password goes to no stranger: --tls alone shows the certificate's --fingerprint to give": "call it once "
        "with `--tls`, compare the fingerprint with the PLC's, and give it",
        "these layouts make no graph:\n…": "mend them in their file, by the lines that follow",
        "sink '…' writes into a PLC: a replay never does": "name another sink, or none",
        "a type of … characters is too long: … at most": "choose a shorter name",
        "'…' is no address of a page, such as http://127.0.0.1:9108": "write http://HOST:9108",
        "graph file '…' has no `http:` section, so nobody can look into that graph": "add `http: {}`, and start anew",
        "no pipeline answers at …: …": "start it, or name the address that its `http.listen` has",
        "what answers at … is no pipeline: …": "name the address that the graph's `http.listen` has",
        "… answers …: …": "set the token or password that the graph's `http:` has",
        "'…' is no file of JSON lines: …": "write it by a sink `file`, or by `replay`",
    },
    "ValueError": {
        **dict.fromkeys(
            (
                "never set",
                "no date and time: …",
                "no date and time: … ns",
                "no time of day: … ms",
                "no time of day: … ns",
                "no operating mode: …",
                "not BCD: 0x…",
                "not UTF-16: half a surrogate pair, 0x…",
                "not …: byte 0x…",
                "string length … exceeds …",
                "unknown operating mode …",
                "unknown protection level …",
                "… has no text",
            ),
            _IN_PLC,
        ),
        **dict.fromkeys(
            (
                "0 to 9990000 ms, with three digits in steps of 10 ms, 100 ms, 1 s or 10 s",
                "0 to …",
                "a date and time without offset, such as 2024-02-29T23:59:59.123",
                "a date and time without offset, such as 2024-02-29T23:59:59.123, from 1970 on",
                "a date and time without offset, such as 2024-02-29T23:59:59.123, from 1970 to 2262-04-11",
                "a date and time without offset, such as 2024-02-29T23:59:59.123, from 1990 to 2089, in whole ms",
                "a date from 1990-01-01 to 2169-06-06",
                "at most … characters",
                "one character",
                "one character up to U+FFFF",
                "text",
                "text in …",
                "… (…) must be …, got …",
            ),
            _MADE,
        ),
        **dict.fromkeys(
            (
                "a data block has a number from 1 to …",
                "byte …: bytes are counted from 0",
                "bytes … to … are not within 0 to …",
                "numbers are counted from 0 to …",
                "'…': an array has 1 to … elements",
                "'…': block numbers are 1 to …, the first not above the last",
                "'…' is not a range: blocks are 1 to …, bytes 0 to …, the first not above the last",
                "…[…]: the length must be 1 to …",
            ),
            _NUMBERS,
        ),
        **dict.fromkeys(
            (
                "its answer is no list",
                "its answer is no list …",
                "list … has no complete record …",
                "item … of … answered twice, or never asked",
                "… of … items answered",
                "a broker has nothing to say before CONNECT",
                "a broker's first packet is CONNACK",
                "a length of more than four bytes",
                "a message of QoS 2, which was not asked for",
                "properties end inside of one: …",
            ),
            _PROTOCOL,
        ),
        **dict.fromkeys(
            (
                "'…' and … are of two sizes",
                "'…' is no address of a value",
                "'…' is no address of an S7 PLC that can be read",
                "'…' is no number to scale by",
                "'…' is none of Kepware's data types",
                "'…': the bit is missing",
                "a STRING lies in a data block",
                "bit … does not exist there",
                "it is only written",
                "its scaling has no range",
                "its type '…' is none with a single value",
                "…, … bytes of decimal digits, is none of the types that are read here",
            ),
            "the note of an import names the tag: set it right in the file, or write the tag by hand",
        ),
        **dict.fromkeys(
            (
                "'…' is no expression: …, at character …",
                "'…': gives neither number, text nor boolean",
                "'…': gives no finite number",
                "'…': only functions can be called: …",
                "'…': there are no … in expressions",
                "'……' is nested too deeply",
                "'…': a format is written out, with fewer than 100 places: {name:.2f}",
            ),
            "mend the expression there; `pipeline operators expression` has examples",
        ),
        "layouts are nested deeper than …": "declare the innermost ones' fields in the layout around them",
        "a point needs a field": _PROGRAM,
        "metric … is a … already, so it can't be a …": "give the operator's metric a name of its own",
        "'…' is no address to listen on": "write host:port, such as 127.0.0.1:9108",
        "# in '…' is not at the end": "write # as the last level: plc/#",
        "'…' in '…' is neither a name in braces, nor +, nor plain text": "write {name}, + or a word "
        "between the slashes",
        **dict.fromkeys(
            (
                "blanks and letters outside of ASCII must be written as %20 and the like",
                "the host is neither a name nor an IP address",
                "the host is neither a name nor an IP address",
                "the port is not a number up to 65535",
                "write http://host/path or https://host/path",
            ),
            "write the `url` so",
        ),
        "'…' is no symbol: a dot was expected at '…'": 'write "Block".member[1].part, as TIA Portal shows it',
    },
    "mistake": {
        **dict.fromkeys(
            (
                "must be a multiple of …, got …",
                "must be nothing, found …",
                "must be … …, got …",
                "must be …, found a …",
                "must have at least … …, has …",
                "must have at most … …, has …",
                "must have … entries, found …",
                "must be after `at` (…), got …",
                "must be after `from` (…), got …",
            ),
            _BOUNDS,
        ),
        "must be a letter or digit, then up to 63 letters without accents, digits, _ . or -, got '…'": "choose one "
        "such as line-1",
        "must be a name without blanks, commas, quotes and braces, got '…'": "choose one such as temperature",
        "must be made of letters without accents, digits and signs, without blanks, got '…'": "choose one such as "
        "edge-line1, which no other client has",
        "must be two hexadecimal bytes, as STEP 7 shows them: 03.01, got '…'": "take it from the connection's "
        "properties; a CPU in slot 1 has 03.01",
        "must be up to 64 letters without accents, digits, _ . or -, without blanks, got '…'": "choose one such "
        "as press1",
        "the name …": "rename that key",
        "this can't be read as YAML: …": "mend what the reason names; `pipeline check FILE --fix` mends tabs, "
        "indentation and quotes",
        "frames and password travel in clear": "set `tls:`, or keep the broker in a network of its own",
        "without seq and boot no gap can be seen": "set `envelope: full`, unless a receiver needs the seed's form",
        "can't be read: …": _FILE,
        "needs a topic beside it": "write `topic:`",
        "reach to byte …, and the graph knows … bytes of DB…": "write fewer bytes, or make the graph's block longer",
        "there is no file '…' beside the test file": "put it there, or write its name right",
    },
    "test": {
        "… recorded answers were not asked for: it read something else, or at other times": "replay it with the graph "
        "that it was made with, or record anew",
        "… requests of this graph are not in the recording: it read something else": "replay it with the graph that it "
        "was made with, or record anew",
        **dict.fromkeys(
            (
                "(reason: …)",
                "count: expected … frames, got …",
                "count: expected …, got …",
                "expected … or less, got …",
                "expected … or more, got …",
                "frame … is missing: …",
                "frame … is one too many: …",
            ),
            _TEST,
        ),
        "it has none: it never ran": "expect the state of a node that is enabled",
        "the graph had ended before": "look at an earlier time, or let the test last longer",
    },
}
"""By the exception's name or the form, and the text."""


OF_PARTS: Mapping[tuple[str, str], str] = {
    ("ValueError", "journal"): "nothing: what is damaged is moved aside and reported, and a new journal begun; look at "
    "the disk and at power cuts",
}
"""By the exception's name and the part that says it, where all its texts mean the same."""


def advice(kind: str, where: str, text: str) -> str:
    """What to do about a text that has no hint; "" where nobody knows."""
    return ADVICE.get(kind, {}).get(text) or OF_PARTS.get((kind, where), "")

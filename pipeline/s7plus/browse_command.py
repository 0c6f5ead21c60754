"""`browse --s7plus`: the part of the command that lists the symbols of an S7-1200/1500."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from pipeline.errors import UsageError
from pipeline.process import new_loop
from pipeline.s7.browse_place import is_graph, place_of_address
from pipeline.units import Secret

if TYPE_CHECKING:
    from pipeline.s7plus.browse import Listing
    from pipeline.s7plus.link import Door

__all__ = ["browse_symbols", "symbol_options", "take_symbol_options"]

F = TypeVar("F", bound=Callable[..., object])

_OPTIONS = ("tls", "fingerprint", "username", "password_file")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_TIMEOUT = 10.0


def symbol_options(command: F) -> F:
    """Give a command the options of `--s7plus`."""
    add = (
        click.option("--s7plus", is_flag=True, help="List the symbols of an S7-1200/1500 instead; beta, an extra."),
        click.option("--tls", is_flag=True, help="With --s7plus: encrypted, whatever the certificate; it is shown."),
        click.option("--fingerprint", metavar="SHA256", help="With --s7plus: encrypted, with this certificate only."),
        click.option("--username", metavar="NAME", help="With --s7plus: a user of the CPU."),
        click.option(
            "--password-file", type=click.Path(path_type=Path), help="With --s7plus: where the password stands."
        ),
    )
    for option in reversed(add):
        command = option(command)
    return command


def take_symbol_options(given: dict[str, Any], *, wanted: bool) -> dict[str, Any]:
    """Take out of a command's options those of `symbol_options`, but for `s7plus` itself.

    Raises:
        UsageError: there are some, though `--s7plus` is not wanted.
    """
    taken = {name: given.pop(name) for name in _OPTIONS}
    told = [f"--{name.replace('_', '-')}" for name, value in taken.items() if value]
    if told and not wanted:
        raise UsageError(f"{', '.join(told)}: only with --s7plus; add it, or leave these out")
    return taken | {"timeout": given.get("timeout")}


def browse_symbols(target: str, options: dict[str, Any], *, as_json: bool, graph: str | None) -> tuple[str, str]:
    """What `browse --s7plus` prints, and the graph file that it writes under the name `graph`, "" when that is None."""
    found, lines = _find(target, options)
    from pipeline.s7plus.browse import symbol_graph, symbol_report  # noqa: PLC0415 - the package is an extra

    told = msgspec.json.format(msgspec.json.encode(found), indent=2).decode() if as_json else ""
    return told or "\n".join(symbol_report(found)), symbol_graph(found, lines, graph) if graph is not None else ""


def _find(target: str, options: dict[str, Any]) -> tuple[Listing, list[str]]:
    """Ask a CPU for its symbols.

    Args:
        target: its address.
        options: as `take_symbol_options` gives them.

    Returns:
        What was found, and the lines with which a source gets in as we did.

    Raises:
        UsageError: the options contradict each other, or the package is missing.
        ReadError: the CPU can't be reached, or says no.
    """
    if find_spec("s7commplus") is None:
        raise UsageError("--s7plus needs the package s7commplus: pip install 'retrofit-pipeline[s7plus]'")
    if is_graph(target):
        raise UsageError("--s7plus takes an address, no graph file; write the PLC's: 192.168.0.121")
    door = _door(target, **options)
    from pipeline.s7plus.browse import symbols  # noqa: PLC0415 - the package is an extra

    with asyncio.Runner(loop_factory=new_loop()) as runner:
        loop = runner.get_loop()
        found = runner.run(symbols(door, lambda function, *given: loop.run_in_executor(None, function, *given)))
    lines = [f'tls: {{fingerprint: "{found.certificate}"}}'] if found.certificate else []
    lines += [f"username: {json.dumps(options['username'])}"] if options["username"] else []
    if path := options["password_file"]:
        lines.append(f"password: {{file: {json.dumps(str(path))}}}")
    return found, lines


def _door(
    target: str,
    *,
    tls: bool,
    fingerprint: str | None,
    username: str | None,
    password_file: Path | None,
    timeout: str | None,
) -> Door:
    from pipeline.s7plus.link import Door  # noqa: PLC0415 - the package is an extra

    place = place_of_address(target, timeout=timeout)
    pin = re.sub(r"[\s:-]", "", fingerprint or "")
    if pin and not _DIGEST.fullmatch(pin):
        raise UsageError(
            "--fingerprint: this is no SHA-256, which has 64 hexadecimal digits; `--tls` alone shows the right one"
        )
    if username and password_file is None:
        raise UsageError("--username needs --password-file beside it; name the file where the password stands")
    if password_file is not None and tls and not pin:
        raise UsageError("a password goes to no stranger: --tls alone shows the certificate's --fingerprint to give")
    try:
        password = Secret(file=password_file).reveal()
    except OSError as error:
        raise UsageError(
            f"--password-file '{password_file}' can't be read: {error.strerror}; name a file that this user may read"
        ) from error
    return Door(
        address=place.address,
        port=place.port,
        timeout=place.timeout if timeout else _TIMEOUT,
        secure=tls or bool(pin),
        fingerprint=pin,
        username=username or "",
        password=password,
    )

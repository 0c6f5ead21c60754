"""Tenants of the platform: each has a user at the broker, a certificate, and topics that nobody else writes or reads.

infra/tenant add NAME [--host broker.plant]   makes infra/secrets/tenants/NAME: .env, ca.crt, tls.crt, tls.key
infra/tenant list                             names, and until when their certificates last
infra/tenant remove NAME                      voids password and certificate; its data in InfluxDB stay

The broker takes the change when it is told to (the command says how); it need not be restarted.
"""

from __future__ import annotations

import argparse
import socket
import sys
from datetime import datetime, timezone

from provision import tenants
from provision.broker import RELOAD
from provision.certificates import expires, names
from provision.command import HOME, broker_files, tell
from provision.environment import Environment
from provision.places import Places
from provision.work import ProvisionError, Work, to_its_end


def main() -> int:
    """Run the command; the exit code."""
    options = _parser().parse_args()
    command = {"add": _add, "list": _list, "remove": _remove}[options.command]
    return tell(lambda work: command(options, work), dry=getattr(options, "dry_run", False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infra/tenant", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all tenants")
    for command, text in (("add", "make a tenant"), ("remove", "void a tenant's password and certificate")):
        added = commands.add_parser(command, help=text)
        added.add_argument("name", help="part of its topics: plc/NAME/...")
        added.add_argument("--dry-run", action="store_true", help="change nothing; say what would be done")
        if command == "add":
            added.add_argument("--host", help="how its edge calls the broker; default: this machine's name")
    return parser


def _add(options: argparse.Namespace, work: Work) -> int:
    places, env = _platform()
    given = [each for each in env.values["BROKER_HOSTS"].split(",") if each]
    broker = options.host or (given or [socket.gethostname()])[0]
    if broker.lower() not in names(places.broker / "tls.crt"):
        raise ProvisionError(f"the broker's certificate is not for {broker}: first infra/setup --host {broker}")
    tenants.add(places, work, options.name, env.values, broker)
    return _taken_over(
        places, work, env, f"\nHand over {places.tenants / options.name}, on a way that nobody reads along."
    )


def _remove(options: argparse.Namespace, work: Work) -> int:
    places, env = _platform()
    tenants.remove(places, work, options.name)
    return _taken_over(
        places, work, env, "\nIts certificate is refused on port 8884 from the broker's next restart on."
    )


def _list(_: argparse.Namespace, __: Work) -> int:
    places, _env = _platform()
    for name in tenants.listed(places):
        cert = places.tenants / name / "tls.crt"
        until = f"{datetime.fromtimestamp(expires(cert), timezone.utc):%Y-%m-%d}" if cert.is_file() else "lost"
        print(f"{name:<24} topics plc/{name}/#   certificate until {until}")
    return 0


def _platform() -> tuple[Places, Environment]:
    places = Places(HOME)
    if not (places.env.is_file() and places.ca_cert.is_file() and (places.broker / "tls.crt").is_file()):
        raise ProvisionError("the platform is not set up: first run infra/setup")
    return places, Environment(places.env)


def _taken_over(places: Places, work: Work, env: Environment, note: str) -> int:
    broker_files(places, work, env.values)
    for line in work.done:
        print(line)
    if not work.done:
        print("nothing to do: all is there")
    elif work.dry:
        print("nothing was changed")
    else:
        print(f"{note}\nTell the broker, when it runs: {RELOAD}")
    return 0


if __name__ == "__main__":
    sys.exit(to_its_end(main))

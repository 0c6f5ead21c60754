"""Makes what the platform needs before its first start, and whatever is missing or near its end after that.

infra/setup                     variables (.env), certificates, users and rights of the broker, folders
infra/setup --host broker.plant a name by which the broker is called from elsewhere
infra/setup --check             changes nothing; exit code 1 when something is missing or near its end
infra/setup --rotate NAME       a new secret, certificate or authority in the place of the old one

Run it as often as you like: what is there stays. No secret is ever shown. It needs Python 3.9 and openssl.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping

from provision import tenants
from provision.broker import RELOAD
from provision.certificates import Authority
from provision.command import BROKER, CLIENTS, HOME, broker_names, host, provide, tell
from provision.environment import EDGE_PASSWORD, ROTATABLE, Environment, new_secret
from provision.places import Places
from provision.work import ProvisionError, Work, to_its_end

_KEEPERS = {
    "INFLUX_PASSWORD": "change it in InfluxDB first: docker compose -f infra/compose.yaml exec influxdb influx user "
    "password -n USER; then write it into .env",
    "INFLUX_TOKEN": "make another operator token in InfluxDB first, write it into .env, and revoke the old one there",
}
_AFTER = {
    "GRAFANA_PASSWORD": "docker compose -f infra/compose.yaml up -d grafana, and then\n  docker compose -f "
    "infra/compose.yaml exec grafana sh -c 'printenv GF_SECURITY_ADMIN_PASSWORD | grafana cli admin "
    "reset-admin-password --password-from-stdin'",
    "ca": "restart the broker; every edge needs the new ca.crt, and every client its new certificate",
}
_FORMER = """TELEGRAF_SESSION and ANALYTICS_SESSION are new: Telegraf and the analytics have other ids at the broker.
Empty their former sessions at the broker, for which it goes on keeping messages: infra/telegraf/README.md, Sessions."""
_LOOPBACK, _EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - asked for by --lan-1883
_START = "docker compose -f infra/compose.yaml up -d"


def main() -> int:
    """Run the command; the exit code."""
    options = _parser().parse_args()
    return tell(lambda work: _run(options, work), dry=options.dry_run or options.check)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infra/setup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--host", action="append", default=[], help="name or address of the broker for its certificate; repeatable")
    add(
        "--rotate",
        action="append",
        default=[],
        metavar="NAME",
        help="a secret's variable, broker, ca, a client, a tenant",
    )
    add(
        "--lan-1883",
        action=argparse.BooleanOptionalAction,
        help="whether port 1883 (a password, and no TLS) listens to the whole network",
    )
    add("--check", action="store_true", help="change nothing; exit code 1 when there is something to do")
    add("--dry-run", action="store_true", help="change nothing; say what would be done")
    return parser


def _run(options: argparse.Namespace, work: Work) -> int:
    places = Places(HOME)
    fresh = not places.env.is_file()
    env = Environment(places.env)
    had = EDGE_PASSWORD in env.values
    nameless = "TELEGRAF_MQTT_PASSWORD" in env.values and "TELEGRAF_SESSION" not in env.values
    env.complete(places, work.owner)
    env.set(_choices(options, env.values))
    rotations = [_rotation(places, work, env, name) for name in options.rotate]
    env.save(work)
    for rotate in rotations:
        rotate()
    provide(places, work, env.values)
    for line in work.done:
        print(line)
    if options.check and work.done:
        print("run infra/setup to mend this")
        return 1
    if not work.done:
        print("nothing to do: all is there")
    elif work.dry:
        print("nothing was changed")
    else:
        _next_steps(options, fresh=fresh, lan=env.values["MQTT_PLAIN_BIND"] != _LOOPBACK)
        if EDGE_PASSWORD in env.values and not had:
            print(f"{EDGE_PASSWORD} is new, and {env.values['MQTT_USERNAME']}'s: every edge needs it as MQTT_PASSWORD.")
        if nameless:
            print(_FORMER)
    return 0


def _choices(options: argparse.Namespace, env: Mapping[str, str]) -> dict[str, str]:
    """What the options change of the variables."""
    chosen = {}
    if options.host:
        hosts = [each for each in env["BROKER_HOSTS"].split(",") if each]
        chosen["BROKER_HOSTS"] = ",".join(dict.fromkeys([*hosts, *(host(each) for each in options.host)]))
    if options.lan_1883 is not None:
        chosen["MQTT_PLAIN_BIND"] = _EVERYWHERE if options.lan_1883 else _LOOPBACK
    return chosen


def _rotation(places: Places, work: Work, env: Environment, name: str) -> Callable[[], object]:
    """What gives `name` a new value; variables have theirs at once, in `env`.

    Raises:
        ProvisionError: there is nothing of that name, or its service has to be told first.
    """
    authority = Authority(places, work)
    if name in ROTATABLE and name in env.values:
        env.set({name: new_secret()})
        return lambda: None
    if name in _KEEPERS:
        raise ProvisionError(f"{name}: {_KEEPERS[name]}")
    if name == tenants.AUTHORITY:
        return authority.forget
    if name == tenants.BROKER:
        return lambda: authority.reissue(places.broker, BROKER, server=broker_names(env.values))
    if name in tenants.listed(places):
        return lambda: tenants.rotate(places, work, name)
    clients = [env.values[variable] for variable in CLIENTS]
    if name in clients:
        return lambda: authority.reissue(places.clients / name, name)
    known = (*(each for each in ROTATABLE if each in env.values), "broker", "ca", *clients, *tenants.listed(places))
    raise ProvisionError(
        f"there is no '{name}' to rotate; there are: {', '.join(known)}; tokens: infra/influx/setup.py"
    )


def _next_steps(options: argparse.Namespace, *, fresh: bool, lan: bool) -> None:
    if fresh:
        print(f"\nStart: {_START}\nPasswords are in infra/.env (Grafana: user admin, GRAFANA_PASSWORD).")
    else:
        print(f"\nTake it over: {_START}\nThe broker, when it runs: {RELOAD}")
    for name in options.rotate:
        if name in _AFTER:
            print(f"{name}: {_AFTER[name]}")
        elif name not in {*ROTATABLE, "broker"}:
            print(f"{name}: its old certificate is refused on port 8884 from the broker's next restart on, not before.")
    if lan:
        print("Port 1883 listens to the network: passwords and data on it can be read by anybody there.")


if __name__ == "__main__":
    sys.exit(to_its_end(main))

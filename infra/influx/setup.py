"""Makes what the platform keeps in InfluxDB: organisations, buckets, tasks, and a token for each who reads or writes.

python infra/influx/setup.py                    first user and operator token too, where InfluxDB is new
python infra/influx/setup.py --check            changes nothing; exit code 1 when something is missing
python infra/influx/setup.py --rotate grafana   a new token in the place of the old one
python infra/influx/setup.py --tenant acme      a bucket of its own, which Grafana can give to that tenant alone

INFLUX_URL, INFLUX_USER, INFLUX_PASSWORD, INFLUX_TOKEN (the operator token), INFLUX_ORG and INFLUX_BUCKET come from the
environment, else from infra/.env. Tokens go to infra/secrets/influx/NAME.token, readable by the owner of infra alone,
and are never shown. Run it as often as you like: what is there stays. It needs Python 3.9.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from influx.api import Api, InfluxError, Refused
from provision.environment import settings
from provision.places import Owner, Places
from provision.work import ProvisionError, Work, to_its_end

_DAY = 86400
_OPERATIONAL = 30 * _DAY
_SENSORS = ("mov_industria", "mov_dados")
_TASKS = Path(__file__).resolve().parent / "tasks"
_TENANT = "tenant_"
_READER = "grafana_"
_ASKED, _STARTING = 2.0, 60.0
"""Seconds for InfluxDB to answer: where it should run, and where it may be starting."""
_TENANT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NO_TENANT = "sensors"
"""Its reading token would have the name of the one for the sensors' bucket."""
_MARK = "retrofit platform: "
_UNAUTHORIZED = 401
_NAMED = re.compile(r'name: *"([^"]+)"')


class _Bucket(NamedTuple):
    org: str
    name: str
    keeps: int  # seconds, 0 for ever


class _Token(NamedTuple):
    name: str
    org: str  # a token is of one organisation, and can't have rights in another
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def main() -> int:
    """Run the command; the exit code."""
    options = _parser().parse_args()
    root = Path(__file__).resolve().parents[1]
    places, work = Places(options.root or root), Work(Owner.of(options.root or root), dry=options.check)
    wait = options.wait if options.wait is not None else _ASKED if options.check else _STARTING
    try:
        Platform(places, work).provide(options.tenant, options.rotate, wait)
    except (InfluxError, ProvisionError, OSError) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    for line in work.done:
        print(f"would {line}" if options.check else line)
    if not work.done:
        print("all is there")
    return 1 if options.check and work.done else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infra/influx/setup.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--check", action="store_true", help="change nothing; exit code 1 when something is missing")
    add("--rotate", action="append", default=[], metavar="NAME", help="replace that token; repeatable")
    add("--tenant", action="append", default=[], metavar="NAME", help="a bucket and a reading token; repeatable")
    add("--wait", type=float, metavar="SECONDS", help="how long InfluxDB may take to answer (60; with --check 2)")
    add("--root", type=Path, help="the folder that holds .env and secrets, when it is not infra")
    return parser


def operator(values: Mapping[str, str]) -> Api:
    """InfluxDB, asked as its operator.

    Args:
        values: from `settings`.

    Raises:
        ProvisionError: INFLUX_TOKEN is nowhere.
        InfluxError: INFLUX_URL is no address.
    """
    if "INFLUX_TOKEN" not in values:
        raise ProvisionError("INFLUX_TOKEN, the operator token, is neither set nor in infra/.env: run infra/setup")
    return Api(values["INFLUX_URL"], values["INFLUX_TOKEN"])


class Platform:
    """What there is in one InfluxDB, and what there should be."""

    def __init__(self, places: Places, work: Work) -> None:
        """Read the variables.

        Raises:
            ProvisionError: INFLUX_TOKEN is nowhere.
            InfluxError: INFLUX_URL is no address.
        """
        self._values: Mapping[str, str] = settings(places.env)
        self._org, self._bucket = self._values["INFLUX_ORG"], self._values["INFLUX_BUCKET"]
        self._api = operator(self._values)
        self._folder, self._work = places.influx, work
        # An .env of the sensors' platform names their bucket here, which keeps what nothing else does.
        self._keeps = 0 if self._bucket == _SENSORS[1] else _OPERATIONAL
        self._orgs: dict[str, str] = {}
        self._buckets: dict[tuple[str, str], str] = {}

    def provide(self, tenants: Sequence[str], rotate: Sequence[str], wait: float) -> None:
        """Make what is missing.

        Args:
            tenants: who get a bucket; those who have one, or a file with its token, keep it unasked: Telegraf may
                write it, and all that it has would wait for a bucket that is not there.
            rotate: names of tokens to replace.
            wait: seconds that InfluxDB may take to answer.

        Raises:
            InfluxError: it does not answer, or refuses.
            ProvisionError: a name that nothing may have.
        """
        for name in tenants:
            if not _TENANT_NAME.fullmatch(name):
                raise ProvisionError(f"'{name}' can't be a tenant: letters, digits, _ . -, at most 64")
            if name == _NO_TENANT:
                raise ProvisionError(f"'{name}' can't be a tenant: token grafana_{name} is the sensors' own")
        self._api.wait(wait)
        if not self._first() or not self._ours():
            return
        ours = (name for org, name in self._buckets if org == self._org)
        known = {name[len(_TENANT) :] for name in ours if name.startswith(_TENANT)}
        handed = {path.stem[len(_READER) :] for path in self._folder.glob(f"{_READER}*.token")}
        everyone = sorted({*known, *handed, *tenants} - {_NO_TENANT})
        for bucket in self._wanted_buckets(everyone):
            self._provide_bucket(bucket)
        self._provide_tasks()
        self._provide_tokens(everyone, rotate)

    def _first(self) -> bool:
        """User, organisation, bucket and operator token of a new InfluxDB; whether there is one to go on with."""
        if not self._api.with_token("").get("/api/v2/setup")["allowed"]:
            return True
        password = self._values.get("INFLUX_PASSWORD", "")
        if not password:
            raise ProvisionError("INFLUX_PASSWORD is neither set nor in infra/.env: run infra/setup")
        body = {
            "username": self._values.get("INFLUX_USER") or "admin",
            "password": password,
            "org": self._org,
            "bucket": self._bucket,
            "retentionPeriodSeconds": self._keeps,
            "token": self._values["INFLUX_TOKEN"],
        }
        what = f"set InfluxDB up: user {body['username']}, organisation {self._org}, bucket {self._bucket}"
        self._work.do(what, lambda: self._api.with_token("").call("POST", "/api/v2/setup", body))
        return not self._work.dry

    def _ours(self) -> bool:
        """Learn the organisations and buckets there are; make the organisations that are missing."""
        try:
            self._orgs = {org["name"]: org["id"] for org in self._api.listed("/api/v2/orgs")}
        except Refused as error:
            if error.status == _UNAUTHORIZED:
                raise ProvisionError(
                    f"{self._api.url} was set up with another operator token than INFLUX_TOKEN: take the one it was "
                    "set up with, or make one there and write it into infra/.env"
                ) from None
            raise
        for name in (self._org, _SENSORS[0]):
            if name not in self._orgs:
                self._work.do(f"make organisation {name}", partial(self._make_org, name))
        if not {self._org, _SENSORS[0]} <= set(self._orgs):
            return False
        for org in (self._org, _SENSORS[0]):
            for bucket in self._api.listed("/api/v2/buckets", orgID=self._orgs[org]):
                self._buckets[org, bucket["name"]] = bucket["id"]
        return True

    def _make_org(self, name: str) -> None:
        self._orgs[name] = self._api.call("POST", "/api/v2/orgs", {"name": name})["id"]

    def _wanted_buckets(self, tenants: Sequence[str]) -> list[_Bucket]:
        main = self._bucket
        forever = [f"{main}_raw", f"{main}_1m", f"{main}_1h", *(_TENANT + name for name in tenants)]
        wanted = [_Bucket(self._org, main, self._keeps), *(_Bucket(self._org, name, 0) for name in forever)]
        return wanted if (self._org, main) == _SENSORS else [*wanted, _Bucket(*_SENSORS, 0)]

    def _provide_bucket(self, bucket: _Bucket) -> None:
        """One that is there keeps its retention, whatever it is: a shorter one would delete data."""
        if (bucket.org, bucket.name) in self._buckets:
            return
        rules = [{"type": "expire", "everySeconds": bucket.keeps}] if bucket.keeps else []
        body = {"orgID": self._orgs[bucket.org], "name": bucket.name, "retentionRules": rules}
        keeps = f"{bucket.keeps // _DAY} days" if bucket.keeps else "for ever"
        self._work.do(f"make bucket {bucket.org}/{bucket.name}, {keeps}", lambda: self._make_bucket(bucket, body))

    def _make_bucket(self, bucket: _Bucket, body: dict[str, Any]) -> None:
        self._buckets[bucket.org, bucket.name] = self._api.call("POST", "/api/v2/buckets", body)["id"]

    def _provide_tasks(self) -> None:
        org = self._orgs[self._org]
        known = {task["name"]: task for task in self._api.get("/api/v2/tasks", orgID=org, limit="500")["tasks"]}
        for file in sorted(_TASKS.glob("*.flux")):
            flux = file.read_text(encoding="utf-8").replace('"processo', f'"{self._bucket}')
            named = _NAMED.search(flux)
            name = named[1] if named else file.stem
            task = known.get(name)
            if task is None:
                body = {"orgID": org, "flux": flux}
                self._work.do(f"make task {name}", partial(self._api.call, "POST", "/api/v2/tasks", body))
            elif task["flux"] != flux:
                path = f"/api/v2/tasks/{task['id']}"
                self._work.do(f"update task {name}", partial(self._api.call, "PATCH", path, {"flux": flux}))

    def _wanted_tokens(self, tenants: Sequence[str]) -> list[_Token]:
        main, org, (sensors_org, sensors) = self._bucket, self._org, _SENSORS
        raw, own = f"{main}_raw", tuple(_TENANT + name for name in tenants)
        frames = (main, raw, f"{main}_1m", f"{main}_1h")
        return [
            _Token("telegraf", org, (), (main, raw, *own)),
            _Token("telegraf_sensors", sensors_org, (), (sensors,)),
            _Token("grafana", org, frames, ()),
            _Token("grafana_sensors", sensors_org, (sensors,), ()),
            _Token("analytics", org, frames, (main,)),
            _Token("analytics_sensors", sensors_org, (sensors,), (sensors,)),
            *(_Token(_READER + name, org, (_TENANT + name,), ()) for name in tenants),
        ]

    def _provide_tokens(self, tenants: Sequence[str], rotate: Sequence[str]) -> None:
        wanted = self._wanted_tokens(tenants)
        unknown = sorted(set(rotate) - {token.name for token in wanted})
        if unknown:
            raise ProvisionError(f"no token '{unknown[0]}'; there are {', '.join(token.name for token in wanted)}")
        self._work.folder(self._folder)
        for token in wanted:
            missing = {(token.org, name) for name in (*token.reads, *token.writes)} - set(self._buckets)
            if missing:  # only asked, and the buckets were not made
                self._work.do(f"make token {token.name}", lambda: None)
                continue
            old = self._authorisations(token)
            rights = self._rights(token)
            if token.name in rotate or not self._is_good(token, old, rights):
                self._work.do(f"make token {token.name}", partial(self._make_token, token, old, rights))

    def _authorisations(self, token: _Token) -> list[dict[str, Any]]:
        found = self._api.get("/api/v2/authorizations", orgID=self._orgs[token.org])["authorizations"]
        return [each for each in found if each["description"] == _MARK + token.name]

    def _rights(self, token: _Token) -> list[dict[str, Any]]:
        """Bucket by bucket: nothing else can be read, written, made or deleted with it."""
        rights = [("read", name) for name in token.reads] + [("write", name) for name in token.writes]
        found = []
        for action, name in rights:
            bucket = self._buckets[token.org, name]
            where = {"type": "buckets", "id": bucket, "orgID": self._orgs[token.org]}
            found.append({"action": action, "resource": where})
        return found

    def _is_good(self, token: _Token, old: list[dict[str, Any]], rights: list[dict[str, Any]]) -> bool:
        """One authorisation of exactly these rights, and a file whose token InfluxDB knows."""
        file = self._folder / f"{token.name}.token"
        if len(old) != 1 or old[0]["status"] != "active" or _rights_of(old[0]["permissions"]) != _rights_of(rights):
            return False
        if not file.is_file():
            return False
        try:
            self._api.with_token(file.read_text(encoding="ascii").strip()).get("/api/v2/buckets", limit="1")
        except Refused as error:
            return error.status != _UNAUTHORIZED
        return True

    def _make_token(self, token: _Token, old: list[dict[str, Any]], rights: list[dict[str, Any]]) -> None:
        """The file has the new token before the old one dies."""
        body = {"orgID": self._orgs[token.org], "description": _MARK + token.name, "permissions": rights}
        made = self._api.call("POST", "/api/v2/authorizations", body)
        self._work.put(self._folder / f"{token.name}.token", made["token"].encode("ascii"))
        for each in old:
            self._api.call("DELETE", f"/api/v2/authorizations/{each['id']}")


def _rights_of(permissions: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(each["action"], each["resource"].get("id", "")) for each in permissions}


if __name__ == "__main__":
    sys.exit(to_its_end(main))

"""The backups of one platform: made, thrown away in time, put back."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from influx.api import Api, InfluxError
from influx.setup import Platform, operator
from provision.environment import Environment, settings
from provision.places import Owner, Places
from provision.work import ProvisionError, Work
from saving import archive, grafana, influxdb
from saving.archive import KINDS, Archive, Damaged

__all__ = ["MISTAKES", "Keeper", "number"]

MISTAKES = (InfluxError, ProvisionError, Damaged, grafana.GrafanaError, OSError)
"""What may go wrong; each message says what to do."""


class Keeper:
    """The backups of one platform, and what they are made of.

    Attributes:
        folder: where they lie.
        work: what is done, and whose the files are.
    """

    def __init__(self, places: Places) -> None:
        """Read the variables.

        Raises:
            ProvisionError: one of them can't be.
        """
        self._values = settings(places.env)
        self._places, self.work = places, Work(Owner.of(places.root))
        self.folder = Path(self._values.get("BACKUP_DIR") or places.root / "backups")
        self._grafana = Path(self._values.get("GRAFANA_DATA") or places.root / "data" / "grafana")
        days = self._values.get("BACKUP_DAYS", "7")
        if not days.isdigit() or not int(days):
            raise ProvisionError(f"BACKUP_DAYS is '{days}'; write a number of days, 1 or more")
        self._days = int(days)

    def make(self, kind: str) -> Archive:
        """Make a backup; then remove those that are too old, as `archive.prune` has it.

        Raises:
            Exception: one of `MISTAKES`; then nothing was removed, and there is no new one.
        """
        self.work.folder(self.folder)

        def fill(writer: archive.Writer) -> dict[str, Any]:
            return influxdb.save(self._api(), writer) if kind == "influxdb" else grafana.save(self._grafana, writer)

        made = archive.write(self.folder, kind, fill, self.work)
        archive.prune(self.folder, kind, self._days)
        return made

    def tell(self) -> None:
        """Write into InfluxDB when each kind last succeeded, for the alert.

        Raises:
            InfluxError: it can't be written.
        """
        lines = [
            f"backup,kind={kind} last_success={int(each.made)}i,bytes={each.path.stat().st_size}i"
            for kind, each in archive.latest(self.folder).items()
        ]
        if lines:
            self._api().write("\n".join(lines), self._values["INFLUX_ORG"], self._values["INFLUX_BUCKET"])

    def find(self, text: str) -> Archive:
        """The backup that a person means: a path, a name in the folder, or a kind's latest.

        Raises:
            ProvisionError: there is none.
        """
        if text in KINDS:
            found = archive.latest(self.folder).get(text)
            if found is None:
                ahead = archive.archives(self.folder, text)
                why = f" but those of the future, such as {ahead[-1].path.name}; give the name of one" if ahead else ""
                raise ProvisionError(f"{self.folder} has no backup of {text}{why}")
            return found
        for path in (Path(text), self.folder / text):
            meant = Archive.of(path)
            if meant is not None and path.is_file():
                return meant
        raise ProvisionError(f"there is no backup {text}; infra/backup list shows those in {self.folder}")

    def restore(self, chosen: Archive, sure: Callable[[str], None]) -> list[str]:
        """Put a backup in the place of what there is; what the user should know then.

        Args:
            chosen: which.
            sure: is told what will be lost; raises where that is not wanted.

        Raises:
            Exception: one of `MISTAKES`.
        """
        manifest = archive.check(chosen.path)
        if manifest["kind"] != chosen.kind:
            raise Damaged(f"{chosen.path}: it is a backup of {manifest['kind']}, whatever its name says")
        if chosen.kind == "grafana":
            return self._restore_grafana(chosen, sure)
        return self._restore_influxdb(chosen, manifest, sure)

    def restore_bucket(self, chosen: Archive, bucket: str, name: str) -> list[str]:
        """Put one bucket of a backup beside what there is; what the user should know then.

        Raises:
            Exception: one of `MISTAKES`.
        """
        manifest = archive.check(chosen.path)
        old, org, made = influxdb.restore_bucket(self._api(), chosen.path, bucket, name)
        new = f"{org}/{name}"
        wanted = {new: manifest["points"].get(old)}
        keeps = f"{new} keeps its points for ever; remove it when you are done"
        return self._compared(wanted, ({new: (org, made)}, set()), manifest, [keeps])

    def _api(self) -> Api:
        return operator(self._values)

    def _restore_grafana(self, chosen: Archive, sure: Callable[[str], None]) -> list[str]:
        url = self._values.get("GRAFANA_URL", "http://127.0.0.1:3000")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api/health", timeout=3):  # noqa: S310 - ours
            raise ProvisionError(
                f"Grafana runs at {url} and would write over it; "
                "stop it: docker compose -f infra/compose.yaml stop grafana"
            )
        sure(f"Grafana's data in {self._grafana}")
        old = grafana.restore(self._grafana, chosen.path, self.work)
        kept = [f"What was there is {old}."] if old else []
        return [*kept, "Users and passwords are the backup's. Start it: docker compose -f infra/compose.yaml up -d"]

    def _restore_influxdb(self, chosen: Archive, manifest: dict[str, Any], sure: Callable[[str], None]) -> list[str]:
        api = self._api()
        api.wait(10)
        if not influxdb.is_new(api):
            sure(f"everything in the InfluxDB at {api.url}: points, users, tokens, tasks")
        try:
            token = influxdb.restore_all(api, chosen.path)
        except InfluxError as error:
            raise InfluxError(f"{error}\nIt may be half restored now; mend the reason and run the same again") from None
        told = self._take_token(token)
        api = self._api()
        told.insert(0, f"{influxdb.restart_tasks(api)} tasks run again.")
        return self._compared(manifest["points"], influxdb.living(api), manifest, told)

    def _take_token(self, token: str) -> list[str]:
        """Go on with the operator token of the backup, and have the tokens that the services use."""
        told = ["Users and passwords are the backup's."]
        if token != self._values["INFLUX_TOKEN"]:
            env = Environment(self._places.env)
            env.set({"INFLUX_TOKEN": token})
            env.save(self.work)
            self._values["INFLUX_TOKEN"] = os.environ["INFLUX_TOKEN"] = token
            told.append("The operator token is the backup's: INFLUX_TOKEN in infra/.env was changed.")
        work = Work(self.work.owner)
        Platform(self._places, work).provide((), (), 10)
        told += work.done
        if len(told) > 1:
            told.append("Take it over: docker compose -f infra/compose.yaml up -d --force-recreate")
        return told

    def _compared(
        self,
        wanted: influxdb.Counted,
        living: tuple[influxdb.Buckets, set[str]],
        manifest: dict[str, Any],
        told: list[str],
    ) -> list[str]:
        """Points now and in the manifest, bucket by bucket; behind them what else is told, also of a failure.

        Raises:
            Damaged: there are fewer in one that drops nothing, or one is not there.
        """
        buckets, dropping = living
        until = datetime.fromisoformat(manifest["counted_until"])
        found = influxdb.counted(self._api(), {name: buckets[name] for name in wanted if name in buckets}, until)
        lines, lost = [], []
        for name, count in wanted.items():
            have = found.get(name)
            there = f"{number(have)} points" if name in buckets else "not there"
            lines.append(f"{name}: {there}, {number(count)} when the backup began")
            fewer = count is not None and have is not None and have < count and name not in dropping
            if fewer or name not in buckets:
                lost.append(name)
        if lost:
            raise Damaged("\n".join([*lines, *told, f"less than in the backup: {', '.join(lost)}; run it again"]))
        return [*lines, *told]


def number(count: int | None) -> str:
    """A count as it is shown; None is none."""
    return "uncounted" if count is None else f"{count}"

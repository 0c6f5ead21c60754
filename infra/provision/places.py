"""Where everything lies in `infra/`, and whose it is."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DATA", "Owner", "Places", "own_names"]

DATA = (
    "data/mosquitto",
    "data/influxdb",
    "data/influxdb-config",
    "data/grafana",
    "data/telegraf",
    "data/edge",
    "data/analytics",
    "backups",
)
"""Folders that services write into. Docker would make those that are missing, as root's."""


@dataclass(frozen=True)
class Places:
    """The paths of one installation.

    Attributes:
        root: the folder `infra`, or one that stands in for it.
    """

    root: Path

    @property
    def env(self) -> Path:
        """The variables, where Compose looks for them: beside `compose.yaml`."""
        return self.root / ".env"

    @property
    def secrets(self) -> Path:
        """Everything else that nobody may read."""
        return self.root / "secrets"

    @property
    def ca_cert(self) -> Path:
        """The authority's certificate: the one file here that is no secret."""
        return self.secrets / "ca.crt"

    @property
    def authority(self) -> Path:
        """The authority's key, and what it has signed and revoked. No service sees this folder."""
        return self.secrets / "authority"

    @property
    def broker(self) -> Path:
        """What Mosquitto reads: certificate, key, users, rights. Its services see this folder and nothing else."""
        return self.secrets / "mosquitto"

    @property
    def clients(self) -> Path:
        """Certificates of the platform's own clients, one folder each."""
        return self.secrets / "clients"

    @property
    def tenants(self) -> Path:
        """What is handed to each tenant, one folder each."""
        return self.secrets / "tenants"

    @property
    def influx(self) -> Path:
        """Tokens that InfluxDB has made, one file each."""
        return self.secrets / "influx"


@dataclass(frozen=True)
class Owner:
    """Who owns what is made, and as whom the containers run, so that they read it without root's rights."""

    uid: int
    gid: int

    @staticmethod
    def of(root: Path) -> Owner:
        """The user who runs this; for root the one whose folder it is, or who called sudo, or 1000.

        A container that runs as root would hand its folders to users of its own, and lock others out.
        """
        if "PLATFORM_UID" in os.environ:  # of a container, which sees folders and not whose they are
            return Owner(int(os.environ["PLATFORM_UID"]), int(os.environ.get("PLATFORM_GID", "0")))
        if not hasattr(os, "getuid"):  # Windows: Docker Desktop lets every user of a container read
            return Owner(1000, 1000)
        if os.getuid():
            return Owner(os.getuid(), os.getgid())
        found = root.stat()
        if found.st_uid:
            return Owner(found.st_uid, found.st_gid)
        return Owner(int(os.environ.get("SUDO_UID", "0")) or 1000, int(os.environ.get("SUDO_GID", "0")) or 1000)

    def take(self, path: Path) -> None:
        """Make the path ours; without root's rights it is already."""
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def own_names() -> list[str]:
    """Names and addresses by which other machines may know this one. Asks nobody outside."""
    name = socket.gethostname()
    found = {name, socket.getfqdn()}
    with contextlib.suppress(OSError):  # a machine may not know its own name
        found.update(str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(name, None))
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))  # of a datagram socket this sends nothing: it chooses our address
            found.add(str(probe.getsockname()[0]).partition("%")[0])
    return sorted(each for each in found if each and not each.startswith("fe80:"))

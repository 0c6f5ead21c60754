"""An authority and its certificates, made by `openssl`: keys of P-256, for TLS 1.2 and 1.3.

Python's standard library can use certificates and not make them; the program that can is on every Linux and macOS, and
on Windows it comes with Git.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from provision.places import Places
from provision.work import PRIVATE, SHARED, ProvisionError, Work

__all__ = ["RENEW", "Authority", "expires", "names"]

CA_DAYS, DAYS = 3650, 825
RENEW = 90 * 86400
"""Seconds before its end in which a certificate is made anew."""
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256")
_CONFIG = """
[req]
distinguished_name = dn
prompt = no
utf8 = yes
[dn]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = {usage}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{alternatives}
[ca]
default_ca = us
[us]
database = {database}
default_md = sha256
default_crl_days = {days}
"""


class Authority:
    """Signs for the broker and its clients, and revokes."""

    def __init__(self, places: Places, work: Work) -> None:
        """Nothing is made yet."""
        self._places = places
        self._work = work
        self._key = places.authority / "ca.key"
        self._database = places.authority / "revoked.txt"
        self._crl = places.broker / "revoked.crl"

    def make(self) -> None:
        """The authority itself, once, and its list of what is revoked.

        Raises:
            ProvisionError: one of its two files is lost, or its end is near: nothing is made anew behind one's back.
        """
        cert = self._places.ca_cert
        if cert.is_file() != self._key.is_file() and not self._work.dry:
            lost = self._key if cert.is_file() else cert
            raise ProvisionError(f"{lost} is lost: put it back, or make a new authority by --rotate ca")
        if not cert.is_file():
            self._work.do(f"make a certificate authority, {cert}", self._make)
        elif expires(cert) < time.time() + RENEW:
            raise ProvisionError(f"{cert} ends soon, and with it all others: make a new one by --rotate ca")
        if not self._crl.is_file():
            self._work.do(f"write {self._crl}: nothing is revoked", self._list_revoked)

    def forget(self) -> None:
        """Forget the authority; `make` makes a new one, and then `issue` makes all certificates anew."""

        def remove() -> None:
            for path in (self._places.ca_cert, self._key, self._database, self._crl):
                path.unlink(missing_ok=True)

        self._work.do("remove the authority, and with it all certificates that it has signed", remove)

    def issue(self, folder: Path, name: str, *, server: Iterable[str] = ()) -> None:
        """A certificate and its key, unless a good one is there.

        Args:
            folder: gets `tls.crt` and `tls.key`.
            name: the common name, which is a client's user name at the broker.
            server: names and addresses of a server; none for a client.
        """
        wanted = sorted({_normal(each) for each in server})
        cert = folder / "tls.crt"
        reason = self._reason(folder, wanted)
        if reason:
            self._work.folder(folder)
            shown = f" for {', '.join(wanted)}" if wanted else ""
            self._work.do(
                f"make the certificate of {name}{shown}, {cert}: {reason}", lambda: self._issue(folder, name, wanted)
            )

    def reissue(self, folder: Path, name: str, *, server: Iterable[str] = ()) -> None:
        """A new certificate in the place of one that is revoked."""
        self.revoke(folder)
        if not self._work.dry:
            self.issue(folder, name, server=server)

    def revoke(self, folder: Path) -> None:
        """Void the certificate in a folder, and remove it with its key."""
        cert = folder / "tls.crt"
        if cert.is_file():
            self._work.do(f"revoke {cert}", lambda: self._revoke(cert))
        for path in (cert, folder / "tls.key"):
            if path.is_file() and not self._work.dry:
                path.unlink()

    def _reason(self, folder: Path, wanted: list[str]) -> str:
        """Why a certificate has to be made; "" when the one there will do."""
        cert, key = folder / "tls.crt", folder / "tls.key"
        if not (cert.is_file() and key.is_file()):
            return "there is none"
        if not self._places.ca_cert.is_file() or not _signed_by(cert, self._places.ca_cert):
            return "another authority has signed it"
        if expires(cert) < time.time() + RENEW:
            return f"it ends on {datetime.fromtimestamp(expires(cert), timezone.utc):%Y-%m-%d}"
        lacking = sorted(set(wanted) - names(cert))
        return f"it lacks {', '.join(lacking)}" if lacking else ""

    def _make(self) -> None:
        name = f"Retrofit platform {secrets.token_hex(4)}"
        with tempfile.TemporaryDirectory() as scratch:
            config, key, cert = (Path(scratch, each) for each in ("config", "key", "cert"))
            config.write_text(_config(name), encoding="utf-8")
            _openssl("req", "-x509", *_KEY, "-config", config, "-extensions", "authority", "-set_serial", _serial(),
                     "-days", CA_DAYS, "-keyout", key, "-out", cert)  # fmt: skip
            self._work.put(self._key, key.read_bytes())
            self._work.put(self._places.ca_cert, cert.read_bytes(), SHARED)

    def _issue(self, folder: Path, name: str, server: list[str]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            config, key, request, cert = (Path(scratch, each) for each in ("config", "key", "request", "cert"))
            config.write_text(_config(name, server), encoding="utf-8")
            _openssl("req", "-new", *_KEY, "-config", config, "-keyout", key, "-out", request)
            _openssl("x509", "-req", "-in", request, "-CA", self._places.ca_cert, "-CAkey", self._key, "-sha256",
                     "-set_serial", _serial(), "-days", DAYS, "-extfile", config, "-extensions", "leaf",
                     "-out", cert)  # fmt: skip
            self._work.put(folder / "tls.key", key.read_bytes())
            self._work.put(folder / "tls.crt", cert.read_bytes(), PRIVATE)

    def _revoke(self, cert: Path) -> None:
        """Write the line that openssl keeps of a revoked certificate, and the list anew."""
        serial = _openssl("x509", "-noout", "-serial", "-in", cert).partition("=")[2].strip()
        ends = datetime.fromtimestamp(expires(cert), timezone.utc)
        now = datetime.now(timezone.utc)
        line = f"R\t{ends:%y%m%d%H%M%SZ}\t{now:%y%m%d%H%M%SZ}\t{serial}\tunknown\t/CN=revoked\n"
        before = self._database.read_text(encoding="ascii") if self._database.is_file() else ""
        if f"\t{serial}\t" not in before:
            self._work.put(self._database, (before + line).encode())
        self._list_revoked()

    def _list_revoked(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            database, config, crl = (Path(scratch, each) for each in ("revoked.txt", "config", "crl"))
            database.write_bytes(self._database.read_bytes() if self._database.is_file() else b"")
            config.write_text(_config("authority", database=database.as_posix()), encoding="utf-8")
            _openssl("ca", "-gencrl", "-config", config, "-keyfile", self._key, "-cert", self._places.ca_cert,
                     "-out", crl)  # fmt: skip
            self._work.put(self._crl, crl.read_bytes())


def expires(cert: Path) -> int:
    """When a certificate ends, in seconds since 1970."""
    return ssl.cert_time_to_seconds(_openssl("x509", "-noout", "-enddate", "-in", cert).partition("=")[2].strip())


def names(cert: Path) -> set[str]:
    """Host names and addresses that a certificate is for."""
    text = _openssl("x509", "-noout", "-text", "-in", cert)
    return {_normal(each) for each in re.findall(r"(?:DNS:|IP Address:)([^,\s]+)", text)}


def _signed_by(cert: Path, authority: Path) -> bool:
    try:
        _openssl("verify", "-partial_chain", "-no_check_time", "-CAfile", authority, cert)
    except ProvisionError:
        return False
    return True


def _normal(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


def _config(name: str, server: Iterable[str] = (), database: str = "") -> str:
    alternatives = ", ".join(f"{'IP' if _is_address(each) else 'DNS'}:{each}" for each in server)
    return _CONFIG.format(
        name=name,
        usage="serverAuth" if alternatives else "clientAuth",
        alternatives=f"subjectAltName = {alternatives}" if alternatives else "",
        database=database,
        days=CA_DAYS,
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _serial() -> str:
    return f"0x{secrets.randbits(126) | 1 << 126:032x}"


def _openssl(*arguments: object) -> str:
    """What openssl answers. No secret is among its arguments: keys go through files.

    Raises:
        ProvisionError: it is not installed, or refuses.
    """
    command = [_program(), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    if done.returncode:
        raise ProvisionError(f"openssl {arguments[0]}: {done.stderr.strip().splitlines()[-1:] or 'failed'}")
    return done.stdout


def _program() -> str:
    """Raises ProvisionError where there is none: certificates that are not made with care protect nobody."""
    found = shutil.which("openssl")
    git = (("PROGRAMFILES", "Git"), ("LOCALAPPDATA", "Programs/Git"))  # for all users of Windows, and for one
    places = [Path(os.environ.get(variable, "-"), folder, "usr/bin/openssl.exe") for variable, folder in git]
    found = found or next((str(each) for each in places if each.is_file()), None)
    if found is None:
        raise ProvisionError(
            "openssl is not installed, and certificates are made by it. Debian: apt-get install openssl; "
            "Windows: install Git (winget install Git.Git), which brings it"
        )
    return found

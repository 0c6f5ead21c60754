"""TLS as a sink's options: what is trusted, who we are, and what a failed handshake means in words."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pipeline.errors import Finding, LinkError, Severity
from pipeline.files import check_file
from pipeline.operator import Options, Scope

__all__ = ["TlsOptions", "explain_tls", "is_loopback", "make_context"]


class TlsOptions(Options):
    """How a connection is encrypted. Host names are checked unless `insecure` is set by hand."""

    enabled: Annotated[bool, Meta(description="encrypt the connection")] = True
    ca_file: Annotated[str, Meta(description="PEM file of the trusted authorities; empty: the system's")] = ""
    cert_file: Annotated[str, Meta(description="PEM file of our certificate, for mutual TLS")] = ""
    key_file: Annotated[str, Meta(description="PEM file of our key; empty: it is in cert_file")] = ""
    insecure: Annotated[bool, Meta(description="trust any certificate and host name: anybody can read along")] = False

    def check(self, scope: Scope) -> Iterable[Finding]:
        """A key without its certificate; files that are missing; certificates that nobody checks."""
        del scope
        for name in ("ca_file", "cert_file", "key_file") if self.enabled else ():
            if file := getattr(self, name):
                yield from check_file(Path(file), (name,))
        if self.key_file and not self.cert_file:
            yield Finding(
                path=("key_file",), message="needs cert_file beside it", hint="name the certificate of this key"
            )
        if self.insecure:
            yield Finding(
                path=("insecure",),
                message="certificate and host name are not checked",
                hint="give the receiver's authority as ca_file instead",
                severity=Severity.WARNING,
            )


def is_loopback(host: str) -> bool:
    """True for names and addresses that never leave this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def make_context(options: TlsOptions) -> ssl.SSLContext | None:
    """The context for one connection, its files read anew; None when TLS is off. Reads files: call it off the loop.

    Raises:
        LinkError: reason "tls", naming option and path of a file that can't be read or used.
    """
    if not options.enabled:
        return None
    for name in ("ca_file", "cert_file", "key_file"):
        _readable(name, getattr(options, name))
    context = ssl.create_default_context() if not options.ca_file else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.ca_file:
        try:
            context.load_verify_locations(options.ca_file)
        except ssl.SSLError as error:
            advice = "give the authority's certificate, a text that begins with -----BEGIN CERTIFICATE-----"
            detail = f"ca_file '{options.ca_file}' is not a PEM certificate ({_text(error)})"
            raise LinkError("tls", detail, advice) from error
    if options.cert_file:
        try:
            # The empty password keeps an encrypted key from asking on the terminal.
            context.load_cert_chain(options.cert_file, options.key_file or None, password="")
        except (ssl.SSLError, ValueError) as error:
            where = f"cert_file '{options.cert_file}'" + (
                f" and key_file '{options.key_file}'" * bool(options.key_file)
            )
            advice = "both in PEM, the key not encrypted, and belonging together"
            raise LinkError("tls", f"{where} can't be used ({_text(error)})", advice) from error
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _readable(name: str, path: str) -> None:
    if path:
        try:
            Path(path).read_bytes()
        except OSError as error:
            advice = "check the path" if isinstance(error, FileNotFoundError) else "check the file's rights"
            raise LinkError("tls", f"{name} '{path}' can't be read ({error.strerror})", advice) from error


# OpenSSL's X509_V_ERR_* numbers.
_VERIFY = {
    9: ("the certificate is not valid yet", "check this machine's clock"),
    10: ("the certificate has expired", "renew it; if it looks valid, check this machine's clock"),
    18: ("the certificate is signed by itself", "give that certificate as tls.ca_file"),
    19: ("the certificate's authority is not known", "give the authority's certificate as tls.ca_file"),
    20: ("the certificate's authority is not known", "give the authority's certificate as tls.ca_file"),
    21: ("the certificate's authority is not known", "give the authority's certificate as tls.ca_file"),
    23: ("the certificate was revoked", "renew it"),
    62: ("the certificate is for another host name", "set host to a name in the certificate"),
    64: ("the certificate is for another address", "set host to a name or address in the certificate"),
}
# Parts of OpenSSL's reason texts, alerts of the receiver among them.
_REASONS = (
    ("CERTIFICATE_REQUIRED", "the receiver asks for our certificate", "set tls.cert_file and tls.key_file"),
    ("ALERT_UNKNOWN_CA", "the receiver does not know our certificate's authority", "check tls.cert_file"),
    ("ALERT_CERTIFICATE_EXPIRED", "our certificate has expired", "renew tls.cert_file"),
    ("ALERT_CERTIFICATE_REVOKED", "our certificate was revoked", "renew tls.cert_file"),
    ("ALERT_BAD_CERTIFICATE", "the receiver refused our certificate", "check tls.cert_file"),
    ("WRONG_VERSION_NUMBER", "the port answered without TLS", "is `port` right? without TLS set tls: {enabled: false}"),
    ("RECORD_LAYER_FAILURE", "the port answered without TLS", "is `port` right? without TLS set tls: {enabled: false}"),
    ("HANDSHAKE_FAILURE", "no common method", "it may ask for tls.cert_file, or speak only TLS below 1.2"),
    ("PROTOCOL_VERSION", "no common TLS version", "the receiver must speak TLS 1.2 or newer"),
    ("UNSUPPORTED_PROTOCOL", "no common TLS version", "the receiver must speak TLS 1.2 or newer"),
)


def explain_tls(error: ssl.SSLError) -> LinkError:
    """What a failed handshake means and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        detail, advice = _VERIFY.get(error.verify_code, ("the certificate is not trusted", "check tls.ca_file"))
        return LinkError("tls", f"{detail} ({error.verify_message})", advice)
    reason = (error.reason or str(error)).upper()
    for part, detail, advice in _REASONS:
        if part in reason:
            return LinkError("tls", detail, advice)
    return LinkError("tls", _text(error))


def _text(error: Exception) -> str:
    return (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()

"""The way to an HTTP server: name, TCP, TLS. Nothing is posted: what a receiver does with it is not ours to try."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pipeline.diagnosis import Diagnosis, reach
from pipeline.posting.answers import explain_failure
from pipeline.posting.client import Url
from pipeline.tls import TlsOptions

__all__ = ["diagnose_server"]


def diagnose_server(url: Url, tls: TlsOptions, patience: float) -> AsyncIterator[Diagnosis]:
    """Find what stands between us and a server, step by step.

    Args:
        url: of the server.
        tls: what is trusted, where it says https.
        patience: seconds for each step.
    """
    return reach(url.host, url.port, tls if url.secure else None, patience, explain_failure)

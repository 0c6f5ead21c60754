"""What is a host, and what is not."""

from __future__ import annotations

import pytest

from pipeline.hosts import check_host


@pytest.mark.parametrize(
    "host", ["broker", "broker.plant.example.", "plc_1", "10.0.0.1", "::1", "fe80::1%eth0", "máquina-1"]
)
def test_names_and_addresses_are_hosts(host: str) -> None:
    """Of version 6, too, with their zone."""
    assert not list(check_host(host, ("host",)))


@pytest.mark.parametrize(
    "host",
    ["a://b", "u:p@b", "u@b", "b/x", "b x", " b", "b\n", "b\0", "[::1]", "-b", "b?x", "b:x", "a..b", "a" * 64],
)
def test_all_else_is_refused_without_showing_it(host: str) -> None:
    """The message is constant; the hint says where the rest belongs."""
    (found,) = check_host(host, ("host",))
    assert (found.message, found.path) == ("this is not an IP address or host name", ("host",))
    assert found.hint.startswith("write the host alone; username, password, port and tls")


def test_a_port_behind_it_is_told_apart() -> None:
    """The most likely mistake, with what to write."""
    (found,) = check_host("b:102", ("target", "address"))
    assert found.hint == "write address: b, port: 102"

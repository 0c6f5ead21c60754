"""`infra/doctor` where the platform is not what it should be: findings, whatever stands in the variables."""

import json

import pytest

from tests.parts.platform import platform


@pytest.fixture(scope="module")
def plant():
    """A platform that nobody has set up."""
    with platform() as made:
        yield made


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MQTT_BROKER", "broker..plant", "'broker..plant' can't be resolved: it is no name"),
        ("INFLUX_URL", "http://[::1", "INFLUX_URL is 'http://…'; write http://HOST:8086"),
        ("INFLUX_URL", "http://influx..plant:8086", "INFLUX_URL is 'http://…'; write"),
        ("INFLUX_URL", "http://me:secret7@127.0.0.1:1", "INFLUX_URL is 'http://…'; write"),
        ("INFLUX_URL", "127.0.0.1:8086", "INFLUX_URL is '://…'; write"),
    ],
)
def test_an_address_that_is_none_is_a_finding(plant, monkeypatch, variable, value, said):
    """No stack trace, no secret; the other parts are looked at all the same."""
    monkeypatch.setenv("INFLUX_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("MQTT_PORT", "1")
    monkeypatch.setenv(variable, value)
    done = plant.run("doctor", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert any(said in each["found"] for each in found), found
    assert {"machine", "broker", "influxdb"} <= {each["part"] for each in found}
    assert "secret7" not in done.stdout


@pytest.mark.parametrize("token", ["ç€", "two\nlines"])
def test_a_token_that_can_not_be_sent_is_a_line(plant, monkeypatch, token):
    """Of a damaged line or file."""
    monkeypatch.setenv("INFLUX_TOKEN", token)
    done = plant.run("influx/setup", "--check")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("the token for InfluxDB has a letter that no token has")

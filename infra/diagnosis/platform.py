"""Where the platform's parts are and who asks them, from the environment, else from infra/.env."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from influx.api import Api
from provision.environment import edge_password, settings
from provision.places import Places

__all__ = ["Platform"]


class Platform:
    """One installation.

    Attributes:
        places: where its files are.
        values: its variables.
        broker: host and port of the broker.
        org: of the frames.
        bucket: of the frames; `<bucket>_raw` has all of them.
    """

    def __init__(self, places: Places) -> None:
        """Read the variables.

        Raises:
            ProvisionError: `.env` can't be read.
        """
        self.places = places
        self.values: Mapping[str, str] = settings(places.env)
        port = self.values.get("MQTT_PORT") or "8883"
        self.broker = (self.values.get("MQTT_BROKER") or "localhost", int(port) if port.isdigit() else 8883)
        self.org, self.bucket = self.values["INFLUX_ORG"], self.values["INFLUX_BUCKET"]

    def api(self, token: str) -> Api:
        """InfluxDB, asked with a token.

        Raises:
            InfluxError: INFLUX_URL is no address.
        """
        return Api(self.values["INFLUX_URL"], token)

    def token(self, name: str) -> str:
        """What `infra/influx/setup.py` has made; "" where it is not there."""
        path = self.places.influx / f"{name}.token"
        return path.read_text(encoding="ascii").strip() if path.is_file() else ""

    def login(self, name: str) -> tuple[str, str]:
        """User and password of `MQTT_USERNAME`, or of a variable such as `SENSOR_MQTT_USER`."""
        if name == "MQTT_USERNAME":
            return self.values.get(name, ""), edge_password(self.values)
        return self.values.get(name, ""), self.values.get(name.replace("_USER", "_PASSWORD"), "")

    def tls(self) -> ssl.SSLContext | None:
        """What is trusted; None where MQTT_TLS is false.

        Raises:
            OSError: the authority's file can't be read or is none.
        """
        if self.values.get("MQTT_TLS", "true").lower() in {"false", "0", "no", "off"}:
            return None
        file = self.values.get("MQTT_CA_FILE") or str(self.places.ca_cert)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(Path(file))
        return context

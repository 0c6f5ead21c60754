"""What tests need of the engine, and a plant with addresses that nobody has."""

from pipeline.testing.harness import (
    NoOptions,
    collector,
    data,
    make_context,
    make_graph,
    node,
    origin,
    run_graph,
    states,
)

__all__ = [
    "PLANT",
    "NoOptions",
    "collector",
    "data",
    "make_context",
    "make_graph",
    "node",
    "origin",
    "run_graph",
    "states",
]

PLANT = {
    "PLC_IP": "192.0.2.10",
    "MIRROR_IP": "192.0.2.11",
    "HTTP_URL": "https://server.example/ingest",
    "INFLUX_URL": "https://influx.example:8086",
    "INFLUX_TOKEN": "secret",
    "MQTT_BROKER": "broker.example",
    "TENANT_ID": "acme",
    "PLC_ID": "press1",
    "MQTT_USERNAME": "edge",
    "MQTT_PASSWORD": "secret",
}
"""Variables that the shipped graphs ask for, with addresses that nobody has."""

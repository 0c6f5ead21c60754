"""SIGTERM at random moments."""

import json

import pytest

from tests.parts.waiting import wait_until
from tests.scenarios.delivery.plant import pass_time

pytestmark = [pytest.mark.real("mosquitto"), pytest.mark.timeout(1800)]

STOP = 8.0
"""Seconds that a stop may take."""


@pytest.mark.parametrize("broker", ["up", "hung", "away"])
def test_sigterm_at_random_moments(plant, conclude, full, broker):
    """1,000 frames a second: exit 0 within 8 s, nothing lost; with the broker up the rest need not even wait."""
    plant = plant()
    stops = 30 if full else 2
    longest = 0.0
    for _ in range(stops):
        plant.start()
        plant.heal()
        plant.flow(200)
        pass_time(plant.chance.uniform(0.0, 1.0))
        if broker == "hung":
            plant.broker.freeze()
        elif broker == "away":
            plant.broker.stop()
        pass_time(plant.chance.uniform(0.0, 1.0))
        longest = max(longest, plant.stop())
        if broker == "hung":
            plant.broker.thaw()
        elif broker == "away":
            plant.restart_broker()
    plant.start()
    plant.heal()
    made = conclude(plant, 9, f"SIGTERM, broker {broker}", faults=stops)
    made.note = f"The longest stop took {longest:.2f} s; every exit code was 0."
    assert longest < STOP
    assert plant.verdict().gaps == 0


def test_the_last_status_is_right(plant):
    """`offline` comes retained, with the last `seq` of each PLC, when everything has been sent."""
    plant = plant(plcs=4)
    plant.start()
    plant.flow(200)
    plant.stop()
    wait_until(lambda: plant.referee.statuses[-1]["status"] == "offline", "offline")
    said = plant.referee.statuses[-1]["last_seq"]
    plant.referee.wait_silence()
    seen = {}
    for arrival in plant.referee.arrivals:
        seen[f"acme/plc{arrival.plc}"] = max(arrival.seq, seen.get(f"acme/plc{arrival.plc}", 0))
    assert json.dumps(said, sort_keys=True) == json.dumps(seen, sort_keys=True)

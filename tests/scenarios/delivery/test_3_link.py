"""The link to the broker: silent, slow, lossy, cut; acknowledgements late or lost."""

from collections.abc import Iterator

import pytest

from tests.parts.mqtt_proxy import MqttProxy
from tests.parts.netns import Link, namespaces_missing
from tests.parts.waiting import wait_until
from tests.scenarios.delivery.plant import pass_time

pytestmark = [pytest.mark.real("mosquitto"), pytest.mark.timeout(1800)]

SOON = {"keep_alive": "2s", "connect_timeout": "1s", "ack_timeout": "3s"}
"""A silent link is noticed in seconds, so that the scenarios are short."""


@pytest.fixture
def link() -> Iterator[Link]:
    """Two namespaces and a cable; the test is at the near end."""
    if why := namespaces_missing():
        pytest.skip(why)
    with Link() as made, made.at("near"):
        yield made


@pytest.mark.parametrize("chains", [("input",), ("output",), ("input", "output")], ids=["there", "back", "both"])
def test_half_open(plant, conclude, full, link, chains):
    """Packets of one direction, or of both, vanish for seconds; nobody closes a connection."""
    plant = plant(link=link, sink=SOON)
    times = 10 if full else 1
    plant.start()
    for _ in range(times):
        plant.flow(500)
        link.lose(100, *chains)
        pass_time(plant.chance.uniform(3.0, 6.0))
        link.rules()
        plant.heal()
        plant.flow(1500)
    way = {1: f"packets {'to' if chains[0] == 'input' else 'from'} the broker vanish", 2: "all packets vanish"}
    conclude(plant, 3, f"half-open: {way[len(chains)]}", faults=times)
    assert plant.verdict().gaps == 0


def test_ten_kilobytes_a_second(plant, conclude, full, link):
    """The link takes a thirtieth of what is read: what does get through is not sent again and again."""
    plant = plant(link=link)
    seconds = 60.0 if full else 5.0
    plant.start()
    plant.flow(500)
    before = len(plant.referee.arrivals)
    link.rate("80kbit")
    pass_time(seconds)
    through = len(plant.referee.arrivals) - before
    link.rate()
    plant.heal()
    made = conclude(plant, 3, f"10 kB/s for {seconds:.0f} s")
    made.note = f"{through / seconds:.0f} frames/s came through the narrow link."
    assert plant.verdict().gaps == 0


def test_thirty_percent_loss(plant, conclude, full, link):
    """Three of ten packets are lost in both directions."""
    plant = plant(link=link, sink=SOON)
    seconds = 60.0 if full else 5.0
    plant.start()
    plant.flow(500)
    link.lose(30, "input", "output")
    pass_time(seconds)
    link.rules()
    plant.heal()
    conclude(plant, 3, f"30 % packet loss for {seconds:.0f} s")
    assert plant.verdict().gaps == 0


def test_an_address_that_never_answers(plant, conclude, full, link):
    """Nothing comes back from the broker's address at the start: the reads go on, and all of them arrive later."""
    plant = plant(link=link, sink=SOON)
    link.lose(100, "input")
    plant.line.start()
    wait_until(lambda: plant.line.get("/healthz")[0] == 200, "it lives")
    wait_until(lambda: "no answer" in plant.line.get("/api/graph")[1], "the reason is said")
    pass_time(20.0 if full else 3.0)
    link.rules()
    plant.heal()
    conclude(plant, 3, "the broker's address never answers at first")
    assert plant.verdict().gaps == 0


def test_resets_at_random_moments(plant, conclude, full):
    """RST to both sides, in the middle of packets."""
    plant = plant()
    resets = 100 if full else 10
    with MqttProxy(plant.broker.plain_port) as proxy:
        plant.route(proxy.port)
        plant.start()
        for _ in range(resets):
            pass_time(plant.chance.uniform(0.0, 1.0))
            proxy.reset()
            plant.heal()
        conclude(plant, 3, "RST at random", faults=resets)
    assert plant.verdict().gaps == 0


def test_acknowledgements_are_late(plant, conclude, full):
    """Each PUBACK takes half a second: the window is wide enough, nothing is sent twice."""
    plant = plant()
    with MqttProxy(plant.broker.plain_port) as proxy:
        proxy.delay = 0.5
        plant.route(proxy.port)
        plant.start()
        plant.flow(30_000 if full else 3000)
        proxy.delay = 0.0
        made = conclude(plant, 3, "PUBACKs late by 500 ms")
    assert made.twice == 0


def test_acknowledgements_are_lost(plant, conclude, full):
    """One PUBACK of 1,000 never comes: the link is given up after `ack_timeout`, and what was open is sent again."""
    plant = plant(sink=SOON)
    with MqttProxy(plant.broker.plain_port) as proxy:
        proxy.lose = 0.001
        plant.route(proxy.port)
        plant.start()
        plant.flow(40_000 if full else 4000)
        proxy.lose = 0.0
        plant.heal()
        made = conclude(plant, 3, "1 PUBACK of 1,000 lost", faults=proxy.swallowed)
    assert made.faults > 0

"""PLCs that are switched off, hang, and say what no PLC should say."""

import pytest

from tests.parts.counting_plc import Event
from tests.scenarios.delivery.plant import pass_time

pytestmark = [pytest.mark.real("mosquitto"), pytest.mark.timeout(1800)]

QUICK = {"timeout": "200ms", "retry": {"initial": "50ms", "max": "200ms"}}
STRANGE = {
    "harmless": (
        "answers byte by byte, twice, in fragments, behind other messages",
        ["one_byte_at_a_time", "twice", "preceded", "split", "unasked"],
        0.2,
    ),
    "harmful": (
        "garbage, wrong sequence numbers, cut and missing answers",
        ["garbage", "foreign", "truncated", "half", "too_long", "hung_up", "close", "silent"],
        0.01,
    ),
}


def test_power_cycles_at_random_moments(plant, conclude, full):
    """Each time some PLCs lose their power, within answers too; the others go on."""
    plant = plant(source=QUICK)
    cycles = 100 if full else 10
    plant.start()
    for _ in range(cycles):
        some = plant.chance.sample(range(20), plant.chance.randrange(1, 21))
        pass_time(plant.chance.uniform(0.0, 0.3))
        plant.plcs.power(False, some)
        pass_time(plant.chance.uniform(0.0, 0.3))
        plant.plcs.power(True, some)
        plant.heal()
    plant.flow(2000)
    made = conclude(plant, 7, "power cycles of some of 20 PLCs", faults=cycles)
    assert made.dropped == {}
    assert plant.verdict().gaps == 0


def test_connections_that_nobody_is_at_the_other_end_of(plant, conclude, full):
    """Half-open: requests go out and nothing comes; after the time-out a new connection, whose answers count."""
    plant = plant(source=QUICK)
    times = 20 if full else 4
    plant.start()
    for _ in range(times):
        plant.flow(500)
        plant.plcs.tell(mute=True)
        plant.heal()
    plant.flow(1000)
    conclude(plant, 7, "half-open connections of 20 PLCs", faults=times)


@pytest.mark.parametrize("kind", ["harmless", "harmful"])
def test_strange_answers(plant, conclude, full, kind):
    """Each kind for a while, now and then: what is right counts, what is not never becomes a value."""
    title, faults, chance = STRANGE[kind]
    plant = plant(source=QUICK)
    plant.start()
    for fault in faults:
        plant.plcs.tell(fault=fault, chance=chance)
        pass_time(10.0 if full else 0.6)
    plant.plcs.tell(fault=None)
    plant.heal()
    plant.flow(1000)
    made = conclude(plant, 7, f"{title} ({len(faults)} kinds, {chance:.0%} of the answers)", faults=len(faults))
    if kind == "harmful":
        spoiled = sum(entry.event is Event.SPOILED for entry in plant.plcs.entries())
        made.note = f"{spoiled} answers were spoiled."
        assert spoiled > 50


def test_answers_after_their_time_out(plant, conclude, full):
    """Answers take longer than the pipeline waits: they come to the next request, and are not taken for its answer."""
    plant = plant(source=QUICK)
    times = 10 if full else 3
    plant.start()
    for _ in range(times):
        plant.flow(500)
        plant.plcs.tell(delay=plant.chance.uniform(0.21, 0.5), late=0.15)
        pass_time(1.0)
        plant.plcs.tell(delay=0.0)
        plant.heal()
    plant.flow(1000)
    made = conclude(plant, 7, "answers after their time-out", faults=times)
    late = plant.late_taken()
    made.note = f"Of the late answers {late} were taken for current ones."
    assert late == 0


def test_blocks_larger_than_the_pdu(plant, conclude, full):
    """PDU 112 and a block of 200 bytes: three requests for each frame, and every block is whole."""
    plant = plant(source=QUICK, plc={"pdu": 112}, size=200)
    plant.start()
    plant.flow(30_000 if full else 2000)
    conclude(plant, 7, "PDU 112, blocks of 200 bytes")


def test_no_free_connection(plant, conclude, full):
    """The PLC's connections are taken by others: refused, tried again, taken as soon as one is free."""
    plant = plant(source=QUICK)
    times = 10 if full else 3
    plant.start()
    for _ in range(times):
        plant.flow(500)
        plant.plcs.tell(max_clients=0)
        plant.plcs.power(False)
        plant.plcs.power(True)
        pass_time(plant.chance.uniform(0.2, 1.0))
        plant.plcs.tell(max_clients=1)
        plant.heal()
    plant.flow(1000)
    conclude(plant, 7, "no free connection", faults=times)

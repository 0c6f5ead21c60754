"""The broker refuses: for a while, for good, by its limits, and because somebody else has our name."""

import subprocess

import pytest

from pipeline.journal import tools as journal_tools
from tests.parts.mosquitto import ACL, PASSWORDS
from tests.parts.mqtt_proxy import MqttProxy
from tests.parts.waiting import wait_until
from tests.scenarios.delivery.plant import pass_time

pytestmark = [pytest.mark.real("mosquitto"), pytest.mark.timeout(1800)]

FORBIDDEN = ACL.replace("topic readwrite plc/acme/#", "topic readwrite plc/acme/delivery/#")


def test_not_authorised_for_a_while(plant, conclude, full):
    """The access list forbids our topics, again and again: said, set aside, and sent when somebody has mended both."""
    plant = plant()
    times = 3 if full else 1
    plant.start()
    for number in range(times):
        plant.flow(500)
        plant.broker.allow(FORBIDDEN)
        wait_until(lambda: "not authorised" in plant.line.get("/api/graph")[1], "the reason is said")
        pass_time(plant.chance.uniform(0.5, 2.0))
        plant.broker.allow(ACL)
        plant.heal()
        if number + 1 < times:  # a minute after a refusal the topic is tried again; a restart does so at once
            before = len(plant.referee.arrivals)
            wait_until(lambda before=before: len(plant.referee.arrivals) > before + 500, "frames are taken", 90)
    plant.stop()
    refused = plant.dropped.pop("refused", 0)
    requeued = journal_tools.requeue(str(plant.journal))
    plant.start()
    made = conclude(plant, 4, "not authorised (0x87) for a while", faults=times, retried=True)
    made.note = f"{refused} frames became dead letters; `journal requeue` sent all {requeued}."
    assert made.dropped == {}
    assert plant.verdict().gaps == 0


def test_payload_too_large_for_good(plant, conclude):
    """Frames of one PLC are larger than the broker allows (0x95): dead letters, nobody waits for them.

    When the limit is raised, `journal requeue` brings them all.
    """
    plant = plant(broker="message_size_limit 1000\n", large=[7])
    plant.start()
    plant.flow(3500)
    plant.stop()
    refused = plant.dropped.pop("refused")
    assert refused > 120
    plant.broker.stop()
    plant.broker.configure("")
    plant.restart_broker()
    requeued = journal_tools.requeue(str(plant.journal))
    plant.start()
    made = conclude(plant, 4, "payload too large (0x95) for good, one PLC of 20", retried=True)
    made.note = f"{refused} frames became dead letters; the limit raised, `journal requeue` sent all {requeued}."
    assert plant.verdict().gaps == 0


def test_quota_exceeded_now_and_then(plant, conclude, full):
    """Two of 100 frames are refused with 0x97 and not handed on: they are tried again until they are taken."""
    plant = plant()
    with MqttProxy(plant.broker.plain_port) as proxy:
        proxy.refuse = 0.02
        plant.route(proxy.port)
        plant.start()
        plant.flow(60_000 if full else 3500)
        proxy.refuse = 0.0
        plant.heal()
        made = conclude(plant, 4, "quota exceeded (0x97), 2 of 100", faults=proxy.refused, retried=True)
    assert proxy.refused > 30
    assert made.dropped == {}
    assert plant.verdict().gaps == 0


def test_receive_maximum_20(plant, conclude, full):
    """Never more than 20 frames under way, though the broker's answers take 10 ms; all arrive."""
    plant = plant(broker="max_inflight_messages 20\n")
    with MqttProxy(plant.broker.plain_port) as proxy:
        proxy.delay = 0.01
        plant.route(proxy.port)
        plant.start()
        plant.flow(30_000 if full else 2000)
        made = conclude(plant, 4, "Receive Maximum 20")
    made.note = f"At most {proxy.most} frames were under way."
    assert 10 < proxy.most <= 20


def test_session_taken_over(plant, conclude, full):
    """Another client has our client id and connects again each time: the pipeline gives way for half a minute.

    Mosquitto 2.0.11 tells nobody why it hangs up; the pipeline suspects it after some times.
    """
    if not full:
        pytest.skip("half a minute of waiting: with --full")
    plant = plant(sink={"client_id": "twin"})
    plant.start()
    plant.flow(500)
    command = ["mosquitto_sub", "-V", "5", "-h", "127.0.0.1", "-p", str(plant.broker.plain_port), "-i", "twin"]
    command += ["-u", "edge", "-P", PASSWORDS["edge"], "-t", "plc/acme/delivery/rival"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as rival:
        try:
            wait_until(lambda: "another client" in plant.line.get("/api/graph")[1], "the reason is said", 60)
            connections = plant.line.metric("edge_connects_total")
        finally:
            rival.kill()
    plant.heal()
    wait_until(lambda: plant.line.metric("edge_connects_total") > connections, "connected again", 60)
    made = conclude(plant, 4, "another client with our client id", faults=int(connections))
    assert made.dropped == {}
    assert plant.verdict().gaps == 0

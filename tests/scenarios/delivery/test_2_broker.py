"""The broker dies and comes back: with its database and without, during the drain, beside restarts of the pipeline."""

import time

import pytest

from pipeline.journal import tools as journal_tools
from tests.parts.mqtt_proxy import MqttProxy
from tests.parts.waiting import wait_until
from tests.scenarios.delivery.plant import DURABLE, SAVED, pass_time

pytestmark = [pytest.mark.real("mosquitto"), pytest.mark.timeout(1800)]


@pytest.mark.parametrize("database", [True, False])
def test_the_broker_is_killed_again_and_again(plant, conclude, full, database):
    """`kill -9` at random moments; without its database it forgets who had subscribed, and what it had taken.

    So a frame that no subscriber gets has to wait: `require_subscriber: true`. What it took and had not yet handed on
    is the broker's own loss, which a proxy before it sees; `journal resend` is for that. One that writes its database
    after each change takes a few hundred messages a second, so it gets no more.
    """
    if database:
        plant = plant(broker=DURABLE, sink={"inflight": 20}, plcs=4)
    else:
        plant = plant(sink={"require_subscriber": True})
    kills = 20 if full else 2
    with MqttProxy(plant.broker.plain_port) as proxy:
        plant.route(proxy.port)
        plant.start()
        for _ in range(kills):
            plant.flow(200)
            pass_time(plant.chance.uniform(0.0, 0.5))
            plant.broker.kill()
            pass_time(plant.chance.uniform(0.0, 2.0))
            plant.restart_broker()
        plant.flow(500)
        how = "with its database" if database else "without, `require_subscriber: true`"
        title = f"broker killed, {how}"
        conclude(plant, 2, title, faults=kills, retried=not database, taken=proxy.acknowledged)
    assert plant.verdict().gaps == sum(plant.dropped.values())


def test_the_broker_is_killed_during_the_drain(plant, conclude, full):
    """Each time a backlog of some seconds is being sent; see above for what the broker loses."""
    plant = plant(sink={"require_subscriber": True})
    kills = 20 if full else 2
    with MqttProxy(plant.broker.plain_port) as proxy:
        plant.route(proxy.port)
        plant.start()
        plant.flow(200)
        plant.broker.kill()
        for _ in range(kills):
            before = plant.backlog()
            wait_until(lambda before=before: plant.backlog() >= before + 2000, "a backlog")
            plant.restart_broker()
            plant.flow(plant.chance.randrange(300, 3000))
            plant.broker.kill()
        plant.restart_broker()
        title = "broker killed during the drain"
        conclude(plant, 2, title, faults=kills, retried=True, taken=proxy.acknowledged)
    assert plant.verdict().gaps == sum(plant.dropped.values())


def test_the_pipeline_is_restarted_while_the_broker_is_away(plant, conclude, full):
    """Stopped and killed in turn; each start finds the backlog of all before it."""
    plant = plant(broker=SAVED)
    restarts = 10 if full else 3
    plant.start()
    plant.flow(200)
    plant.broker.stop()
    for number in range(restarts):
        before = plant.backlog()
        wait_until(lambda before=before: plant.backlog() >= before + 1500, "a backlog")
        if number % 2:
            plant.kill(1.0)
        else:
            plant.stop()
        plant.line.start()
        wait_until(lambda: plant.line.get("/healthz")[0] == 200, "it lives")
    plant.restart_broker()
    made = conclude(plant, 2, "pipeline restarted while the broker is away", faults=restarts, allowed=1.0)
    made.note = "Every other restart is a `kill -9`, `commit_interval: 1s`."
    assert plant.verdict().gaps == 0


def test_what_the_broker_lost_after_its_puback_is_sent_again(plant, conclude):
    """It queued frames for an absent subscriber, acknowledged them, and died: `journal resend` refills the hole."""
    plant = plant(journal={"keep_after_ack": "1h"})
    plant.start()
    plant.flow(500)
    plant.referee.leave()
    since = time.time()
    before = plant.line.metric("plc_publish_ok_total")
    wait_until(lambda: plant.line.metric("plc_publish_ok_total") > before + 2000, "2,000 acknowledged")
    plant.broker.kill()
    until = time.time()
    plant.broker.start()
    plant.referee.come()
    plant.flow(500)
    plant.stop()
    hole = plant.verdict().lost
    assert hole > 1500, "the broker has lost nothing"
    resent = journal_tools.resend(str(plant.journal), since - 1, until + 1)
    plant.start()
    plant.heal()
    made = conclude(plant, 2, "the broker lost what it had acknowledged; `journal resend`", retried=True)
    made.note = f"{hole:,} frames were missing before, {resent:,} were sent again."

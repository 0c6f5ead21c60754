"""What `doctor` says of a broker, in virtual time."""

from pathlib import Path

from pipeline.clock import run_virtual, virtual_clock
from pipeline.diagnosis import Diagnosis, Mark, Situation
from pipeline.mqtt.diagnosis import diagnose_broker
from pipeline.mqtt.options import BrokerOptions
from pipeline.operator import Scope
from pipeline.tls import TlsOptions
from pipeline.units import Duration
from tests.parts.broker import Broker
from tests.parts.engine import data, origin


def diagnosed(broker, topics):
    """What is found of a broker, with a canary on each of the topics."""

    async def main(loop):
        await broker.listen(loop, "127.0.0.1")
        options = BrokerOptions(
            host="127.0.0.1", port=8883, tls=TlsOptions(enabled=False), connect_timeout=Duration(5), client_id="c"
        )
        situation = Situation(scope=Scope(graph="g", node="n", layouts={}, folder=Path()), clock=virtual_clock(loop))
        canaries = [(topic, data(origin())) for topic in topics]
        return [found async for found in diagnose_broker(options, situation, canaries)]

    return run_virtual(main)


def test_an_answer_that_comes_late_is_not_taken_for_another_topics():
    """A slow broker that denies one topic says nothing of the next."""
    codes = {"plc/a": 0x87, "plc/b": 0x10}
    broker = Broker(puback=lambda message: codes[message.topic], delay=7.0)
    found = [each for each in diagnosed(broker, codes) if each.what == "publish"]
    assert [(each.part, each.found) for each in found] == [
        ("plc/a", "no acknowledgement within 5s"),
        ("plc/b", "no acknowledgement within 5s"),
    ]


def test_each_topic_gets_its_own_answer():
    """Refused, taken by nobody, stored; the way there is told before."""
    codes = {"plc/a": 0x87, "plc/b": 0x10, "plc/c": 0}
    found: list[Diagnosis] = diagnosed(Broker(puback=lambda message: codes[message.topic]), codes)
    assert [(each.what, each.mark) for each in found[:-3]] == [(what, Mark.GOOD) for what in ("name", "TCP", "login")]
    assert [(each.part, each.mark.value, each.found) for each in found[-3:]] == [
        ("plc/a", "problem", "refused: not authorised"),
        ("plc/b", "warning", "taken, but nobody at the broker stores it"),
        ("plc/c", "good", "taken and stored"),
    ]

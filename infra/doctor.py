"""Tries the platform from end to end, and says of everything that is wrong what it means and what to do.

infra/doctor          files, broker, rights, InfluxDB, tokens, a frame from end to end, the latest hour's data
infra/doctor --json   the same for programs

It publishes one heartbeat frame as tenant `doctor`, PLC `canary`, and changes nothing else. Run it where infra/.env is;
it asks the ports that Compose publishes (MQTT_BROKER, MQTT_PORT, INFLUX_URL). An edge has a doctor of its own:
python -m pipeline doctor FILE. Exit code 1 when there is a problem. It needs Python 3.9.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from diagnosis import broker, data, database, machine
from diagnosis.finding import PROBLEM, WARNING, Finding
from diagnosis.platform import Platform
from influx.api import InfluxError
from provision.places import Places
from provision.work import ProvisionError, shown, to_its_end

HOME = Path(__file__).resolve().parent
_MOMENT = 0.001


def main() -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(
        prog="infra/doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="as one JSON array")
    options = parser.parse_args()
    findings = _findings(Platform(Places(HOME)))
    found = list(findings) if options.json else list(_shown(findings))
    problems = sum(each.mark == PROBLEM for each in found)
    if options.json:
        print(json.dumps([each._asdict() for each in found], indent=1))
    else:
        warnings = sum(each.mark == WARNING for each in found)
        print(f"{problems} problems, {warnings} warnings")
    return 1 if problems else 0


def _findings(platform: Platform) -> Iterator[Finding]:
    yield from machine.examine(platform)
    ways = []
    for each in chain(broker.examine(platform), database.examine(platform)):
        ways.append(each)
        yield each
    if not any(each.mark == PROBLEM and each.what in {"name", "TCP", "TLS"} for each in ways):
        yield from broker.follow(platform)
    if not any(each.mark == PROBLEM and each.what == "answers" for each in ways):
        yield from data.examine(platform)


def _shown(findings: Iterator[Finding]) -> Iterator[Finding]:
    part = ""
    for each in findings:
        if each.part != part:
            part = each.part
            print(part)
        taken = f" ({each.seconds:.3f} s)" if each.seconds and each.seconds >= _MOMENT else ""
        print(f"  {each.mark:<8} {each.what:<10} {shown(each.found)}{taken}")
        if each.advice:
            print(f"           {'':<10} → {each.advice}", flush=True)
        yield each


if __name__ == "__main__":
    sys.exit(to_its_end(main, ProvisionError, InfluxError, OSError))

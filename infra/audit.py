"""The ledger of a day, PLC by PLC: reads answered, frames published, acknowledged, stored; what is missing, and why.

infra/audit                    yesterday, in this machine's time zone
infra/audit --day 2026-02-02   another day; today's counts so far
infra/audit --json             the same for programs

It asks InfluxDB (INFLUX_URL, INFLUX_ORG, INFLUX_BUCKET) with Grafana's token, which only reads. Frames carry numbers,
so that a missing one shows. Reads and acknowledgements are of the edges' metrics: those of the seconds between the last
time they were asked and an edge's end are not in them. Exit code 1 when frames are missing. It needs Python 3.9.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from auditing.ledger import Hole, Ledger
from auditing.source import Source
from diagnosis.platform import Platform
from influx.api import InfluxError
from provision.places import Places
from provision.work import ProvisionError, shown, to_its_end

HOME = Path(__file__).resolve().parent


def main() -> int:
    """Run the command; the exit code."""
    options = _parser().parse_args()
    told = _audit(Platform(Places(HOME)), options.day)
    print(json.dumps(told, indent=1) if options.json else "\n".join(map(shown, _text(told))))
    return 1 if any(each["missing"] for each in told["plcs"]) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infra/audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="which day; yesterday unless told")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    return parser


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - made one of this machine's zone below
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no day; write it as 2026-02-02") from None


def _audit(platform: Platform, day: datetime | None) -> dict[str, Any]:
    chosen = day or datetime.now() - timedelta(days=1)  # noqa: DTZ005 - this machine's zone, see below
    midnight = chosen.replace(hour=0, minute=0, second=0, microsecond=0)
    begin, end = _begin(midnight), _begin(midnight + timedelta(days=1))
    if begin > datetime.now().astimezone():
        raise ProvisionError(f"{midnight:%Y-%m-%d} has not begun yet")
    token = platform.token("grafana")
    if not token:
        raise ProvisionError("there is no token grafana; run python infra/influx/setup.py")
    source = Source(platform.api(token), platform.org, platform.bucket, begin, end)
    answered = source.counts("plc_read_ok_total", "tenant", "plc")
    failed = source.counts("plc_read_fail_total", "tenant", "plc")
    edges = source.edges()
    plcs = []
    for plc in source.plcs():
        ledger = Ledger(source.points(plc), source.before(plc), begin.timestamp())
        edge = edges.get(plc, "")
        for hole in ledger.holes:
            hole.reasons = _reasons(source, edge, hole)
        plcs.append(
            {
                "tenant": plc[0],
                "plc": plc[1],
                "edge": edge,
                "answered": _whole(answered.get(plc)),
                "failed": _whole(failed.get(plc)),
                "published": ledger.published,
                "stored": ledger.stored,
                "missing": ledger.published - ledger.stored,
                "replayed": ledger.replayed,
                "failures": ledger.failures,
                "restarts": ledger.restarts,
                "holes": [asdict(hole) | {"count": hole.count} for hole in ledger.holes],
                "pauses": [asdict(pause) for pause in ledger.pauses],
            }
        )
    return {"day": f"{midnight:%Y-%m-%d}", "from": begin.isoformat(), "plcs": plcs, "edges": _edges(source)}


def _begin(midnight: datetime) -> datetime:
    """A day's first moment: where clocks are put forward at midnight that is one o'clock."""
    first = midnight.astimezone()
    return first if first.date() == midnight.date() else midnight.replace(fold=1).astimezone()


def _reasons(source: Source, edge: str, hole: Hole) -> list[str]:
    """Given up at the edge, which counts it, or lost behind it, where the journal may still have it."""
    drops = source.drops(edge, hole.begin, hole.end) if edge else {}
    if drops:
        return [f"the edge gave frames up: {reason} ({count:.0f})" for reason, count in sorted(drops.items())]
    begin, end = (
        f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%dT%H:%M:%SZ}" for at in (hole.begin - 1, hole.end + 1)
    )
    resend = f"pipeline journal resend PATH --from {begin} --to {end}"
    return [f"lost behind the edge, or still in its journal; where that has keep_after_ack: {resend}"]


def _edges(source: Source) -> list[dict[str, Any]]:
    acknowledged = source.counts("plc_publish_ok_total", "edge")
    refused = source.counts("plc_publish_fail_total", "edge")
    dropped = source.counts("edge_frames_dropped_total", "edge", "reason")
    return [
        {
            "edge": key[0],
            "acknowledged": _whole(count),
            "refused": _whole(refused.get(key, 0.0)),
            "dropped": {reason: _whole(given) for (edge, reason), given in dropped.items() if edge == key[0] and given},
        }
        for key, count in sorted(acknowledged.items())
    ]


def _whole(count: float | None) -> int | None:
    return None if count is None else round(count)


def _text(told: dict[str, Any]) -> list[str]:
    lines = [f"{told['day']} (from {told['from']})"]
    for each in told["plcs"]:
        lines.append("/".join(filter(None, (each["tenant"], each["plc"]))) or "without a name")
        counts = (
            "not known" if each["answered"] is None else f"{each['answered']} answered, {each['failed'] or 0} failed"
        )
        lines.append(f"  reads    {counts}")
        lines.append(
            f"  frames   {each['published']} published, {each['stored']} stored, {each['missing']} missing; "
            f"{each['failures']} tell of failed reads, {each['replayed']} came later; {each['restarts']} restarts"
        )
        for hole in each["holes"]:
            where = f"{hole['first']}-{hole['last']} of {hole['boot']}"
            lines.append(f"  missing  {_span(hole)}: {hole['count']} frames ({where})")
            lines += [f"           → {reason}" for reason in hole["reasons"]]
        lines += [f"  pause    {_span(pause)}: {'; '.join(pause['reasons'])}" for pause in each["pauses"]]
    if not told["plcs"]:
        lines.append("no numbered frames on that day: infra/doctor says where they stay")
    for edge in told["edges"]:
        drops = ", ".join(f"{reason} {count}" for reason, count in edge["dropped"].items()) or "none"
        lines.append(
            f"edge {edge['edge']}: {edge['acknowledged']} acknowledged, {edge['refused']} refused, given up: {drops}"
        )
    return lines


def _span(each: dict[str, Any]) -> str:
    begin, end = (datetime.fromtimestamp(each[name]).astimezone() for name in ("begin", "end"))
    return f"{begin:%H:%M:%S} to {end:%H:%M:%S}"


if __name__ == "__main__":
    sys.exit(to_its_end(main, InfluxError, ProvisionError, OSError))

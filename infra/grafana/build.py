"""Writes what Grafana is provisioned with: dashboards, alert rules, contact points, policies.

python infra/grafana/build.py            writes the files that differ, and names them
python infra/grafana/build.py --check    changes nothing; exit code 1 where a file differs

It needs Python 3.11 and `pip install '.[dev]'`. What it writes is committed, so a platform needs neither.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.alerts import provisioning
from grafana.boards.debug import debug
from grafana.boards.edge import edge_board
from grafana.boards.fleet import fleet
from grafana.boards.line import line
from grafana.boards.sensors import sensors

__all__ = ["files"]

_FOLDER = Path(__file__).resolve().parent
_BOARDS = {"fleet": fleet, "line": line, "edge": edge_board, "debug": debug, "sensors": sensors}


def files() -> Iterator[tuple[Path, str]]:
    """Each file and what belongs into it."""
    for name, make in _BOARDS.items():
        made = make().build()
        for number, panel in enumerate(made.panels or [], 1):
            panel.id_val = number
        text = json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        yield _FOLDER / "dashboards" / f"{name}.json", text + "\n"
    for name, text in provisioning().items():
        yield _FOLDER / "provisioning" / "alerting" / name, text


def main() -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where a file differs")
    check = parser.parse_args().check
    differing = [(path, text) for path, text in files() if not path.is_file() or path.read_text("utf-8") != text]
    for path, text in differing:
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(f"{'differs' if check else 'written'}: {path.relative_to(_FOLDER)}")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())

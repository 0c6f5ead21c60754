"""`python -m tests.scenarios.delivery [--full] [-k NAME]`: run scenarios, and write what they gave into RESULTS.md.

`--report` writes the page anew from what was measured before. Everything else goes to pytest.
"""

import sys
from pathlib import Path

import pytest

from tests.scenarios.delivery import report


def main(arguments: list[str]) -> int:
    """The exit code."""
    if arguments == ["--report"]:
        report.MARKDOWN.write_text(report.render(report.load()), encoding="utf-8")
        return 0
    return pytest.main(["--record", "-v", *arguments, str(Path(__file__).parent)])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""The author's guide: its example runs as it is printed."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest

from pipeline.operator import NodeKind
from tests.parts.line import ROOT


def test_the_example_and_its_test_run_as_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is an operator under its file's name; the printed test passes."""
    blocks = re.findall(
        r"```python\n(.+?)```", (ROOT / "operators" / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    module = ModuleType("operators.transforms.above")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(blocks[0], "above.py", "exec"), module.__dict__)  # noqa: S102 - our own page
    assert (module.above.kind, module.above.name) == (NodeKind.TRANSFORM, "above")
    test = ModuleType("test_above")
    exec(compile(blocks[1], "test_above.py", "exec"), test.__dict__)  # noqa: S102 - our own page
    test.test_only_frames_above_the_limit_pass()

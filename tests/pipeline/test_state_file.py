"""Small files of what outlives a restart: always whole, wherever they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline import state_file


class Windows:
    """The module's `os` on Windows, which opens no folders."""

    name = "nt"

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, _: int) -> int:
        """As there."""
        raise PermissionError(13, "Permission denied", str(path))


def test_what_was_saved_is_there_again_and_what_is_damaged_is_moved_aside(tmp_path: Path) -> None:
    """In a folder that is made; where there is nothing, nothing is wrong."""
    path = tmp_path / "new" / "state.json"
    assert state_file.load(path, dict[str, int]) == (None, "")
    state_file.save(path, b'{"n": 1}')
    state_file.save(path, b'{"n": 2}')
    assert state_file.load(path, dict[str, int]) == ({"n": 2}, "")
    path.write_bytes(b'{"n": "\xff')
    found, trouble = state_file.load(path, dict[str, int])
    assert found is None
    assert trouble.endswith(f"was moved to {path}.damaged")
    assert [each.name for each in path.parent.iterdir()] == ["state.json.damaged"]


def test_it_is_saved_where_folders_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file itself is on the medium all the same."""
    monkeypatch.setattr(state_file, "os", Windows())
    state_file.save(tmp_path / "state.json", b"{}")
    assert (tmp_path / "state.json").read_bytes() == b"{}"

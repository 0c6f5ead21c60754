"""A path that is none is told in one line, by `infra/bundle` and by the archive's `install.py`."""

import importlib
import sys

import pytest

from tests.parts.platform import INFRA


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder of its own, without the part that pip does; what it says, having failed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(INFRA))

    def told(name, arguments, **instead):
        module = importlib.import_module(name)
        for part, other in instead.items():
            monkeypatch.setattr(module, part, other)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        assert module.main() == 1
        return capsys.readouterr().err

    return told


def test_a_tenant_that_is_not_there(told, tmp_path):
    """It was to be the folder that `infra/tenant` has made."""
    (tmp_path / "line1.yaml").write_text("sources: {}")
    nothing = {"HERE": tmp_path, "_verify": lambda: None, "_install": lambda _: None}
    said = told("install", ["--tenant", "nowhere", "--no-service", "--etc", "etc"], **nothing)
    assert said == "error: nowhere/.env: No such file or directory\n"


def test_an_archive_that_can_not_be_written(told, tmp_path):
    """Its folder is a file."""
    (tmp_path / "taken").write_text("a file")
    bundle = importlib.import_module("bundle")
    said = told("bundle", ["-o", "taken/a.tar.gz"], make=lambda _python, _system, output: bundle._pack(output, "a", {}))
    assert said == "error: taken: File exists; choose another place with -o\n"

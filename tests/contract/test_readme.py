"""The README's commands: the two that a newcomer runs, and the translation kept in step."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READMES = ["README.md", "README.pt-BR.md"]


def commands(name: str) -> list[str]:
    """The contents of the sh blocks of a README, in order."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [block.strip() for block in re.findall(r"^```sh\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)]


def test_both_languages_give_the_same_commands():
    """A command changed in one README is changed in the other."""
    assert commands("README.md") == commands("README.pt-BR.md")
    assert commands("README.md")


@pytest.mark.parametrize("name", READMES)
def test_run_comes_first_and_test_second_each_in_one_line(name):
    """The first block starts the demo, the second runs the tests; each makes its own environment."""
    run, test, *_ = commands(name)
    assert "\n" not in run + test
    assert run.endswith("-m pipeline configs/demo.yaml")
    assert "pytest" in test
    assert all("-m venv .venv" in command for command in (run, test))


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    """Every relative link names a file of the project."""
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []

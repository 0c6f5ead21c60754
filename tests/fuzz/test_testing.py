"""Test files of any content give cases or a list of problems, and what is right can be run."""

from pathlib import Path

import pytest
from hypothesis import given

from pipeline.cli import shipped_graphs
from pipeline.commands.test import run_job
from pipeline.errors import ConfigurationError
from pipeline.testing.cast import check_job
from pipeline.testing.load import load_jobs
from tests.parts.fuzzing import damaged, fuzzed, rewritten, worded

GRAPHS = [path for path in shipped_graphs().values() if path.stem in {"demo", "mirror", "exporter"}]
SUITES = [
    f"graph: {path}\n{path.with_suffix('.test.yaml').read_text(encoding='utf-8')}".replace("for: 40s", "for: 12s")
    for path in GRAPHS
]
WORDS = [
    "",
    "0",
    "-1s",
    "1e9",
    "away",
    "db: 1",
    "node: press",
    "bytes: 00",
    "until: 2s",
    "{}",
    "[]",
    "*",
    "null",
    "true",
]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """Where the file stands."""
    return tmp_path_factory.mktemp("suite") / "x.test.yaml"


def judge(path, content):
    """Problems that can be read, or results; never anything else. Long cases are not run."""
    path.write_bytes(content)
    try:
        jobs = load_jobs(path, check_job)
    except ConfigurationError as error:
        worded(error)
        return
    for job in jobs:
        if job.case.seconds <= 60:
            assert run_job(job).text.encode() is not None


@fuzzed(0.3)
@given(content=damaged([text.encode() for text in SUITES]))
def test_any_bytes_are_read(content, path):
    """Bits that turned, pieces that are missing or doubled."""
    judge(path, content)


@fuzzed(0.3)
@given(text=rewritten(SUITES, WORDS))
def test_any_text_is_read(text, path):
    """Lines that were moved, words that were changed."""
    judge(path, text.encode())

"""The published figures are those of `tests/benchmarks/results.json`, and no others."""

import re
import subprocess
import sys

import pytest

from tests.benchmarks.publish import FIGURES_OF, HERE, ROOT, pages
from tests.benchmarks.results import COMMITTED, digest, load

RESULTS = load(COMMITTED)
PLOTS = {"cpu.svg": ("frame", "dense", "wide"), "fleet.svg": ("fleet",), "top.svg": ("top",)}


@pytest.mark.parametrize("file", pages(RESULTS), ids=lambda file: file.name)
def test_pages_are_made_of_the_results(file):
    """Whoever changes the results, or a page by hand, runs `python -m tests.benchmarks.publish`."""
    assert file.read_text(encoding="utf-8") == pages(RESULTS)[file]


@pytest.mark.parametrize("file", FIGURES_OF, ids=lambda file: file.name)
def test_readmes_have_a_place_for_figures(file):
    """The markers stand once, in order, with something between them."""
    assert len(re.findall(r"<!-- figures -->\n.+?<!-- /figures -->", file.read_text(encoding="utf-8"), re.DOTALL)) == 1


@pytest.mark.parametrize("name", PLOTS)
def test_plots_are_drawn_from_the_results(name):
    """Each names the digest of its rows."""
    rows = [row for wanted in PLOTS[name] for row in RESULTS.rows if row.name == wanted]
    assert digest(rows) in (HERE / name).read_text(encoding="utf-8")


def test_without_their_packages_the_benchmarks_say_what_to_install():
    """The extra `dev` has not all that measuring needs."""
    code = "import runpy, sys; sys.modules['psutil'] = None; runpy.run_module('tests.benchmarks', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: psutil is not installed; run: pip install -e '.[bench]'\n"


def test_nothing_published_was_measured_in_a_hurry():
    """`--quick` shows that benchmarks work; its figures mean nothing."""
    assert [row.name for row in RESULTS.rows if row.run is None or row.run.quick] == []

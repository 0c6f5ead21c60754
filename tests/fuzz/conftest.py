"""`--fuzz-examples N`: how long the fuzzers search; and the time limits of searching."""

import pytest

from tests.parts import fuzzing


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long session's option."""
    parser.addoption(
        "--fuzz-examples",
        type=int,
        default=0,
        metavar="N",
        help="examples of each fuzz test, at random; slow ones less",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell the tests, which are made afterwards."""
    fuzzing.examples = config.getoption("--fuzz-examples", 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long session ends when its examples do; a short one finds what hangs, also on a busy machine."""
    for item in items:
        if "fuzz" in item.path.parts:
            item.add_marker(pytest.mark.timeout(0 if fuzzing.examples else 300))

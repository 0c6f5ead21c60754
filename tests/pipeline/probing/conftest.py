"""Layouts that ship."""

import pytest

from pipeline.config import load
from pipeline.config.layouts import Naming
from tests.parts.engine import PLANT
from tests.parts.line import ROOT


@pytest.fixture
def press():
    """The fields of the press."""
    return load(ROOT / "configs" / "line1.yaml", PLANT).layouts["press"].leaves(Naming())

"""What the tests of commands share."""

import logging

import pytest
import structlog


@pytest.fixture(autouse=True)
def restored():
    """The process's log as it was before a command set it up."""
    root, handlers, level = logging.getLogger(), list(logging.getLogger().handlers), logging.getLogger().level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()

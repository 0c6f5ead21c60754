"""What `simulate` does not even try."""

import pytest


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(run, port):
    """The system would take some other one, or give a reason that names no option."""
    code, out, err = run("simulate", "--port", port)
    assert (code, out) == (1, "")
    assert f"Invalid value for '--port': {port} is not in the range" in err

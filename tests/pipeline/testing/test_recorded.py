"""What a recorded test shows in the place of a secret."""

import pytest

from pipeline.testing.recorded import _stand_in


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("open sesame", "secret"),
        ("https://me:pw@alerts.example:8443/T000/B000?key=x", "https://alerts.example:8443/secret"),
        ("http://[::1]:8086/T000", "http://[::1]:8086/secret"),
        ("http://[::1]/T000", "http://[::1]/secret"),
        ("http://me:pw/x@server", "secret"),
    ],
)
def test_an_address_stays_one_of_the_same_server(secret, shown):
    """So that the graph can be read, and tested with the server played; nothing of the secret is in it."""
    assert _stand_in(secret) == shown

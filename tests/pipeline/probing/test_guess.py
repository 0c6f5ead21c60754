"""What fields seem to be."""

import struct

import pytest

from pipeline.probing.guess import guess
from pipeline.probing.readings import Reading, values_of
from pipeline.probing.samples import Sample, activities

SIZES = {"BOOL": "B", "INT": "h", "REAL": "f", "DINT": "i"}


def seems(kind, values):
    """What a field with these values seems to be."""
    samples = [Sample(at / 2, struct.pack(f">{SIZES[kind]}", value)) for at, value in enumerate(values)]
    reading = Reading(kind, 0, len(samples[0].data), 0.0)
    return guess(reading, values_of(reading, samples), samples)


@pytest.mark.parametrize(
    ("kind", "values", "what", "unit"),
    [
        ("INT", [5000, 5001, 5001, 5003], "counter", ""),
        ("INT", [97, 98, 99, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "counter", ""),
        ("INT", [50, 49, 47, 46], "countdown", ""),
        ("INT", [1, 2, 3, 1, 2, 3, 2], "step, or mode", ""),
        ("INT", [512, 530, 499, 520, 507, 516, 490, 533, 501, 512], "measured value, or setpoint", ""),
        ("INT", [7, 7, 7], "constant", ""),
        ("BOOL", [1] * 200 + [0] * 20 + [1] * 200, "running, or ready", ""),
        ("BOOL", [0, 1, 0, 0, 1, 0, 0] * 20, "pulse", ""),
        ("BOOL", [0] * 300 + [1] * 20 + [0] * 300, "state, or fault", ""),
        ("BOOL", [1, 1], "always on", ""),
        ("REAL", [21.5 + n / 100 for n in range(40)] + [21.9 - n / 100 for n in range(40)], "temperature", "°C"),
        ("REAL", [0, 12.5, 13, 11.9, 14.2, 0, 12.1, 13.7], "current", "A"),
        ("REAL", [1.9, 2.3, 2.0, 2.6, 1.7], "vibration", "mm/s"),
        ("REAL", [10, 10, 10, 20, 20, 20], "setpoint", ""),
        ("REAL", [1000.5, 1001.5, 1007.25, 1010.0], "total", ""),
        ("REAL", [-9000, 8000, -700, 4000], "measured value", ""),
    ],
)
def test_what_a_field_seems_to_be(kind, values, what, unit):
    """In words, with a unit where one can be guessed."""
    found = seems(kind, values)
    assert (found.what, found.unit) == (what, unit)
    assert found.stem.isidentifier()


def test_how_bytes_move():
    """Changes, values, bits that toggled, changes a minute, and how long it has been quiet."""
    samples = [Sample(at * 10, bytes([value, 7])) for at, value in enumerate([0, 1, 3, 1, 1, 1, 1])]
    moving, still = activities(samples)
    assert (moving.value, moving.changes, moving.distinct, moving.toggled) == (1, 3, 3, 0b11)
    assert (moving.per_minute, moving.quiet, still.changes, still.quiet) == (3.0, 3, 0, 7)
    assert activities([]) == []

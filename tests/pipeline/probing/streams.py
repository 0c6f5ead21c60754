"""Blocks with known layouts whose values move: what the analysis has to find out again."""

import struct
from datetime import datetime, timedelta
from random import Random

from pipeline.probing.samples import Sample
from pipeline.s7.process import Process, animate
from pipeline.s7.times import write_date_and_time

NOON = datetime(2024, 2, 29, 11, 59)  # noqa: DTZ001 - a PLC's date has no zone


class Stream:
    """A block that is put together field by field."""

    def __init__(self, random):
        self.random = random
        self.size = 0
        self.fields = []
        self._writers = []

    def bits(self, count):
        """BOOLs in a byte, each with a pace of its own."""
        byte = self._place("", 1, even=True)
        for bit in range(count):
            self.fields.append(("BOOL", byte, bit))
            state, pace = [self.random.random() < 0.5], self.random.uniform(0.03, 0.4)

            def write(block, _, bit=bit, state=state, pace=pace):
                state[0] ^= self.random.random() < pace
                block[byte] |= state[0] << bit

            self._writers.append(write)

    def counter(self, kind, first, pace, step=1):
        """An INT or DINT that counts."""
        self._numbers(kind, first, lambda value: value + self.random.randint(1, step), pace)

    def value(self, first, width):
        """An INT that goes up and down."""
        self._numbers("INT", first, lambda value: value + self.random.randint(-width, width), 0.9)

    def real(self, middle):
        """A REAL that wanders about a value, and is 0 now and then."""
        byte, state = self._place("REAL", 4), [middle]

        def write(block, index):
            state[0] += (middle - state[0]) * 0.1 + self.random.gauss(0, abs(middle) * 0.02)
            block[byte : byte + 4] = struct.pack(">f", 0.0 if index % 50 > 44 else state[0])

        self._writers.append(write)

    def text(self, longest, text):
        """A STRING that stands still."""
        byte = self._place(f"STRING[{longest}]", 2 + longest)
        raw = bytes([longest, len(text)]) + text.encode("latin-1")
        self._writers.append(lambda block, _: block.__setitem__(slice(byte, byte + len(raw)), raw))

    def clock(self, moment=NOON):
        """A DATE_AND_TIME that runs."""
        byte = self._place("DATE_AND_TIME", 8)

        def write(block, index):
            text = (moment + timedelta(seconds=index / 2)).isoformat(timespec="milliseconds")
            block[byte : byte + 8] = write_date_and_time(text, "", 0)

        self._writers.append(write)

    def reserve(self, size):
        """Bytes that are zero."""
        self.size += size

    def samples(self, count=150):
        """The block, twice a second."""
        taken = []
        for index in range(count):
            block = bytearray(self.size)
            for write in self._writers:
                write(block, index)
            taken.append(Sample(index / 2, bytes(block)))
        return taken

    def _numbers(self, kind, first, change, pace):
        size, code = {"INT": (2, ">h"), "DINT": (4, ">i")}[kind]
        byte, state = self._place(kind, size), [first]

        def write(block, _):
            if self.random.random() < pace:
                state[0] = change(state[0])
            block[byte : byte + size] = struct.pack(code, state[0])

        self._writers.append(write)

    def _place(self, kind, size, *, even=True):
        self.size += self.size % 2 if even else 0
        byte = self.size
        self.size += size
        if kind:
            self.fields.append((kind, byte, 0))
        return byte


def simulated(leaves, size, seconds, *, every=0.5, seed=1):
    """A block as the simulator moves it."""
    block = bytearray(size)
    step = animate(Process.MACHINE, leaves, block, Random(seed))  # noqa: S311 - a game
    taken = []
    for index in range(int(seconds / every)):
        taken.append(Sample(index * every, bytes(block)))
        for _ in range(round(every / 0.1)):
            step(0.1)
    return taken

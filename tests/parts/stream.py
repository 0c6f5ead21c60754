"""Transforms played in virtual time, and the mistakes of a node's options as its user reads them."""

from pipeline.testing.harness import END, Event, mistakes, play, play_twice

__all__ = ["END", "Event", "mistakes", "play", "play_twice"]

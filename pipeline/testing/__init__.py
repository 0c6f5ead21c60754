"""Tests that users write: a graph on played devices and receivers, in virtual time."""

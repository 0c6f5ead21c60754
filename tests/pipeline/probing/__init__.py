"""Tests of `pipeline/probing`."""

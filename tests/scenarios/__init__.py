"""Whole graphs on real parts."""

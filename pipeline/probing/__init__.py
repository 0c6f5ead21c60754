"""Finds out what the bytes of a data block mean, from how they move. Analysis is pure functions on samples."""

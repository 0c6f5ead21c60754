"""Tests: `README.md` says what is where."""

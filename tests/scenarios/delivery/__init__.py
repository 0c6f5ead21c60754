"""The proof of delivery: `python -m tests.scenarios.delivery`. What each scenario does stands in its test."""

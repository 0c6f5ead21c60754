"""The ledger of a day: what came of what was read."""

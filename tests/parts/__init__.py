"""Parts that tests start: real ones and scripted ones."""

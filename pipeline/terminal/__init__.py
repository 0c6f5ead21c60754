"""What the terminal shows of a running pipeline, near or far: through its HTTP interface, by reading only."""

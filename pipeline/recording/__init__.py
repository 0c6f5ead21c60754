"""What devices said, kept as it came: the file, the flight recorder, and how a recording plays the device again."""

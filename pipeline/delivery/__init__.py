"""At least once, whatever the protocol: lanes, in-flight table, commits, limits, breaker."""

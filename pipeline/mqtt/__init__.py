"""MQTT as a publisher needs it: codec, one link to a broker, and a publisher that keeps one after the other."""

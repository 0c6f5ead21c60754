"""Alerts: from what a stream says to what somebody is told, once."""

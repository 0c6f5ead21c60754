"""Siemens S7 from the bytes up: types, addresses, decoding; read plan, wire format and session."""

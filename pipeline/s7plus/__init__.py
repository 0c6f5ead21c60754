"""Optimised and symbolic blocks of S7-1200/1500: what wraps the package `s7commplus` (an extra, declared beta)."""

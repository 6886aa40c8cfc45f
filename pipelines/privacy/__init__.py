"""Audit chain, keys and erasure of one person."""

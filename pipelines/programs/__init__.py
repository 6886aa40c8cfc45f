"""Adaptive programs of one person: exposure, speaking, game messages, naming practice (spec: programs; docs/programs.md)."""

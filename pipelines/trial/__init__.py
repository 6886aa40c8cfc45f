"""Micro-randomised trial in the log: the draw, the decision record (trial.md)."""

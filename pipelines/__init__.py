"""Kairos pipelines: the rooms a record walks through, and the Beam graph that carries it."""

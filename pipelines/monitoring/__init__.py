"""Health of a run, and counts of its topics. Knows no person."""

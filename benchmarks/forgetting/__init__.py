"""Does a model per person keep what it knew? Streams whose regimes return, rivals from River, and the gate (spec/models.md 5)."""

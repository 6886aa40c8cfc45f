"""Online learning of one person: River's verbs, no clock, explicit bytes (spec/models.md). No rule lives here."""

"""Context of one person: consent, profile, local days, completeness of the data. No rule lives here."""

"""The gate: the one door through which a person's rooms speak. Consent, contact hours, limits, timers, audit."""

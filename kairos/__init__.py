"""The `kairos` command. Research software. Not a medical device."""

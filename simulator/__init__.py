"""Made-up people: golden scenarios as data, faults of transport, and whole populations.

Research software. Not a medical device.
"""

"""Signed content: messages, explanation templates, crisis lines, lexicons. Samples for clinicians to replace.

Research software. Not a medical device.
"""

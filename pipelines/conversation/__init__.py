"""Conversation: what a person wrote is answered from approved replies only, risk first (conversation.md)."""

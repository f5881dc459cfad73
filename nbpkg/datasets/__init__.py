"""Clips drawn from sessions, and what is done to their frames before a network sees them."""

"""Clips of several people as networks see them: which frames, which pixels, how often, and in which variants."""

"""Valence of a listener, second by second: folders, annotation files, transcripts."""

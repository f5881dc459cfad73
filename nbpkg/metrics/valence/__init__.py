"""Scores of continuous answers."""

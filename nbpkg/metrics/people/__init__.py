"""Scores of clips of several people: ranked answers, classes, families, and what a constant answer would get."""

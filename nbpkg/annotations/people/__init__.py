"""Clips of several people and their labels: lists of clips, skeletons, ratings, and score files of the old format."""

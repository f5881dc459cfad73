"""Metrics, each with its direction, and intervals over groups."""

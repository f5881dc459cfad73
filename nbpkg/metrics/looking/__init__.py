"""Scores of who looks at the camera wearer: the benchmark's own, its files, and what answering blindly would get."""

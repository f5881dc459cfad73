"""Gaze targets in new footage: a network, a video or picture folder and head boxes in; tables and films out."""

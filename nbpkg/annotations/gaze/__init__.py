"""Where people look: published annotation files and picture folders to table ``gaze``, and back to their formats."""

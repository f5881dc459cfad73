"""Training of gaze-target networks: on single pictures, on video with a state, and searches over grids of settings."""

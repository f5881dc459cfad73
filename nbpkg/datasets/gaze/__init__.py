"""From frames, head boxes and gaze points to what a network for gaze targets sees, and what it is to answer."""

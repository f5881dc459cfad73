"""Face tracks of Ego4D: who is seen when in which clip, and when they look at the camera wearer."""

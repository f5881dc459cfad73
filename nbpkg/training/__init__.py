"""Training of networks and of heads on baked features."""

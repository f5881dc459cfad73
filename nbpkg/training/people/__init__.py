"""Training of networks over people: losses, learning rates, and steps through recordings with a memory."""

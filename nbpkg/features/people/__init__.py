"""Several people in one picture: who is who from frame to frame, their poses, and what networks read of each."""

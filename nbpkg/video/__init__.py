"""Video files to frames: facts, prepared copies, random access, clips."""

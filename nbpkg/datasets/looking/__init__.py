"""Windows over crops of a face track, and batches of them."""

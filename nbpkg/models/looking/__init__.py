"""Networks that decide from a few crops of a face whether it looks at the camera."""

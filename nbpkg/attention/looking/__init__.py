"""Where in a window of faces people and networks look."""

"""Where people look, where networks look, and how far the two agree."""

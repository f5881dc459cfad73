"""Which snippets are painted, and by whom."""

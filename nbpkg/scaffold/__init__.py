"""A new study that runs at once, written next to the others; what a person must change in it says so."""

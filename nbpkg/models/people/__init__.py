"""Networks for clips of several people."""

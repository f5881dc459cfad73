"""Networks, one architecture per file: torch in, torch out."""

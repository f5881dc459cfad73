"""What an experiment found and how it was done, out of its receipts and tables: for the index, and for papers."""

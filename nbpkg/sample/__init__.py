"""Small complete raw data for each study, generated in seconds."""

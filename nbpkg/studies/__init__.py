"""The studies: what is peculiar to each, readable as its methods section."""

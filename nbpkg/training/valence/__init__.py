"""Training over sequences: rounds, phases, personal networks, fusion of decisions."""

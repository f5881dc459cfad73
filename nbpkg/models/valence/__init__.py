"""Networks over sequences of several modalities."""

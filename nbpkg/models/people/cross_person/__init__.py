"""Networks that let people attend to each other: the cross-person memory transformer, and Multipar-T beside it."""

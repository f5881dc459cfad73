"""Where annotators say a person looks, as human maps, and where a network that predicts it looks itself."""

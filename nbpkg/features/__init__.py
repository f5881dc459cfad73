"""From recordings to features: sounds, words and faces, one row per second."""

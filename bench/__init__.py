"""Side-by-side benchmarks; never part of a timed test."""

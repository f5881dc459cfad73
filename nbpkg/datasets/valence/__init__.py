"""Recordings of several modalities, one row per second: aligned, prepared, cut into segments and put into batches."""

"""Classifiers of clips from their pictures, with the published names of all entries."""

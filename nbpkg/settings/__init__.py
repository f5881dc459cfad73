"""Parameter files, the parameters cell of the notebooks, and the typed settings they become."""

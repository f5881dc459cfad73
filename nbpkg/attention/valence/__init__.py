"""Which second of which modality moves an answer."""

"""Training of networks over windows of a face track."""

"""Training of the restorer."""

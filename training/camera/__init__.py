"""Training of the restorer's camera branch."""

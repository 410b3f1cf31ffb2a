"""The training loop and what it needs, independent of what is trained."""

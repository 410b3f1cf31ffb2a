"""Drawings for people; Pillow only."""

"""Measurements of trained networks: one module for each, with the same seed the same images."""

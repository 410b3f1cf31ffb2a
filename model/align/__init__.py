"""Aligning a foreign MLLM with a restorer: degraded images, what both MLLMs see in them, and the fit."""

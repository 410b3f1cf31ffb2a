"""Training of the restorer and of the small MLLM: generated degradations, the loop, evaluation."""

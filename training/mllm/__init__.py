"""Training of the MLLM."""

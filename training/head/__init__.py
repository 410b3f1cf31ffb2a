"""The head of a trained MLLM, fitted to real photographs."""

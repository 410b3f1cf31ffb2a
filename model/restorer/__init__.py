"""The restoration network: an encoder-decoder with MLLM-guided fusion and mixtures of frequency experts."""

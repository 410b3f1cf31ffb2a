"""The restoration network and the MLLM, in pure PyTorch; nothing in here knows about ComfyUI."""

"""The multimodal language model that describes an image and embeds it."""

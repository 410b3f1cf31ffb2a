"""Training photographs and the degraded scenes made of them."""

"""Whole archives on one machine or many: `mofe restore --engine ray`. Needs Ray, the extra `[ray]`."""

"""Soft radial frequency bands of a small window, as fixed-size real matrix products.

The spectrum of a window is taken in the orthonormal real Fourier basis, so splitting a window into bands and going back
to pixels is one square matrix per band: no complex numbers, any precision, any device, exportable. The paper (arXiv
2605.11444, abstract) states that the experts work on frequencies, not how the bands are cut: all of this is our design.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

HIGHEST = math.sqrt(0.5)
"""Largest radius of a two-dimensional spectrum in cycles per pixel: the diagonal at the Nyquist limit."""


def fourier_basis(size: int) -> tuple[Tensor, Tensor]:
    """Return the orthonormal real Fourier basis of `size` samples and its frequencies.

    Returns:
        Rows [size, size] float64, one basis function each: constant, then cosine and sine of 1, 2, ... cycles per
        window (for an even size the last one alternates); and their frequencies [size] in cycles per sample, 0..0.5.

    Raises:
        ValueError: Fewer than 2 samples.
    """
    if size < 2:
        raise ValueError(f"a window needs at least 2 samples a side, not {size}")
    position = torch.arange(size, dtype=torch.float64)
    rows, frequencies = [], []
    for cycles in range(size // 2 + 1):
        angle = 2 * math.pi * cycles * position / size
        waves = [angle.cos()] if cycles == 0 or 2 * cycles == size else [angle.cos(), angle.sin()]
        rows += [wave / wave.norm() for wave in waves]
        frequencies += [cycles / size] * len(waves)
    return torch.stack(rows), torch.tensor(frequencies, dtype=torch.float64)


def window_basis(window: int) -> tuple[Tensor, Tensor]:
    """Return the two-dimensional real Fourier basis of a square window, and its radii.

    Returns:
        Basis [window^2, window^2] float32, whose rows are basis functions over the window's pixels in row-major order;
        and radii [window^2] float32 in cycles per pixel, 0..`HIGHEST`. A product of two waves holds the frequencies
        (x, y) and (x, -y), which have the same radius, so radial bands are exact.

    Raises:
        ValueError: A window of fewer than 2 pixels a side.
    """
    rows, frequencies = fourier_basis(window)
    radii = torch.hypot(frequencies[:, None], frequencies[None, :]).flatten()
    return torch.kron(rows, rows).float(), radii.float()


def edges_from_steps(steps: Tensor) -> Tensor:
    """Return rising band edges [K-1] in cycles per pixel: the running sum of softplus of free parameters [K-1]."""
    return F.softplus(steps).cumsum(0)


def steps_from_edges(edges: Tensor) -> Tensor:
    """Return the free parameters [K-1] that give these band edges, the inverse of `edges_from_steps`.

    Raises:
        ValueError: The edges are not positive and rising.
    """
    steps = torch.diff(edges, prepend=edges.new_zeros(1))
    if not bool((steps > 0).all()):
        raise ValueError(f"band edges must be positive and rising, not {edges.tolist()}")
    return steps.expm1().log()


def band_memberships(radii: Tensor, edges: Tensor, softness: float) -> Tensor:
    """Return how much each frequency belongs to each band: smooth in the edges, so that gradients can train them.

    Args:
        radii: [R] in cycles per pixel.
        edges: [K-1], rising, in cycles per pixel.
        softness: Width of the transition in cycles per pixel, above 0.

    Returns:
        [K, R] in 0..1, from the lowest band to the highest; the sum over the bands is 1 (partition of unity).

    Raises:
        ValueError: The softness is not above 0.
    """
    if softness <= 0:
        raise ValueError(f"softness must be above 0, not {softness}")
    above = torch.sigmoid((radii[None, :] - edges[:, None]) / softness)
    one, zero = torch.ones_like(radii)[None], torch.zeros_like(radii)[None]
    return torch.cat([one, above]) - torch.cat([above, zero])


def band_projections(basis: Tensor, memberships: Tensor) -> Tensor:
    """Return the matrices that cut each band out of a window of P pixels.

    The highest band is the remainder of the others, so that their sum is the identity in spite of rounding.

    Args:
        basis: [P, P] orthonormal rows (`window_basis`).
        memberships: [K, P] (`band_memberships`).

    Returns:
        [K, P, P]; the sum over the bands is the identity.
    """
    lower = basis.T @ (memberships[:-1, :, None] * basis)
    rest = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device) - lower.sum(0)
    return torch.cat([lower, rest[None]])


def to_windows(features: Tensor, window: int) -> Tensor:
    """Cut features [B, H, W, C] into windows [window^2, B, H/window, W/window, C].

    The pixel within the window comes first, so that one matrix product splits all windows of a batch into bands.

    Raises:
        ValueError: H or W is not a multiple of the window.
    """
    batch, height, width, channels = features.shape
    if height % window or width % window:
        raise ValueError(f"features of {height} x {width} cannot be cut into windows of {window} x {window}")
    tiled = features.reshape(batch, height // window, window, width // window, window, channels)
    return tiled.permute(2, 4, 0, 1, 3, 5).reshape(window * window, batch, height // window, width // window, channels)


def from_windows(windows: Tensor, window: int) -> Tensor:
    """Join windows [window^2, B, nH, nW, C] to features [B, nH * window, nW * window, C]: undo `to_windows`."""
    _, batch, rows, columns, channels = windows.shape
    tiled = windows.reshape(window, window, batch, rows, columns, channels).permute(2, 3, 0, 4, 1, 5)
    return tiled.reshape(batch, rows * window, columns * window, channels)


def split_bands(windows: Tensor, projections: Tensor) -> Tensor:
    """Split windows [P, ...] into bands [K, P, ...] by matrices [K, P, P]; the sum over the bands is the input."""
    bands, pixels, _ = projections.shape
    split = projections.reshape(bands * pixels, pixels) @ windows.reshape(pixels, -1)
    return split.reshape(bands, *windows.shape)

"""What is read from a foreign MLLM: the patches as they enter its vision tower."""

from __future__ import annotations

import torch
from torch import nn

from mofe_restore.model.mllm.sight import PATCH_STATISTICS, PatchWatch, patch_embedding_of


class Tower(nn.Module):
    """Patches of 4 px, embedded by a convolution or by a linear layer, after a linear layer that takes no patches."""

    def __init__(self, name: str, embedding: nn.Module) -> None:
        super().__init__()
        self.words = nn.Linear(48, 8)
        self.vision = nn.ModuleDict({name: embedding})
        self._name = name

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if isinstance(self.vision[self._name], nn.Linear):
            image = nn.functional.unfold(image, 4, stride=4).mT
        return self.vision[self._name](image)


def same_embeddings() -> tuple[nn.Conv2d, nn.Linear]:
    convolution, linear = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(48, 6)
    with torch.no_grad():
        linear.weight.copy_(convolution.weight.flatten(1))
        linear.bias.copy_(convolution.bias)
    return convolution, linear


def test_patches_are_read_whether_a_convolution_or_a_linear_layer_embeds_them() -> None:
    convolution, linear = same_embeddings()
    images, seen = torch.rand(5, 3, 16, 16), []
    for tower in (Tower("projection", convolution), Tower("patch_embedder", linear), Tower("patch_dense", linear)):
        with PatchWatch(tower) as watch, torch.no_grad():
            tower(images)
        seen.append(watch.statistics(5, PATCH_STATISTICS))
    assert seen[0].shape == (4, 6)
    for other in seen[1:]:
        torch.testing.assert_close(other, seen[0])


def test_a_linear_layer_that_is_not_named_so_is_none() -> None:
    tower = Tower("merger", nn.Linear(48, 6))
    assert patch_embedding_of(tower) is None
    with PatchWatch(tower) as watch:
        tower(torch.rand(5, 3, 16, 16))
    assert watch.statistics(5, PATCH_STATISTICS).shape == (4, 0)

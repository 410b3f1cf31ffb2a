"""What the fits of networks of presence share: that of a head, and that of a second look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from ...model.mllm.head import DegradationHead
from ...model.mllm.second_look import SecondLook

PresenceNetwork = DegradationHead | SecondLook
"""What has a network of presence: `mean` and `scale` of its input, `widen` and `presence`."""


def minimize(
    trained: Iterable[nn.Parameter], loss: Callable[[], Tensor], steps: int, learning_rate: float, weight_decay: float
) -> None:
    """Take so many steps of AdamW, with a cosine decay to 0.

    Args:
        trained: The parameters.
        loss: Draws a batch and returns its loss.
        steps: Updates.
        learning_rate: At the first of them.
        weight_decay: Of AdamW.
    """
    optimizer = torch.optim.AdamW(trained, learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def merge_into(merged: PresenceNetwork, members: Sequence[PresenceNetwork]) -> None:
    """Make a network as wide as all members together give the mean of their logits; they share mean and scale."""
    merged.mean.copy_(members[0].mean)
    merged.scale.copy_(members[0].scale)
    merged.widen.weight.copy_(torch.cat([member.widen.weight for member in members]))
    merged.widen.bias.copy_(torch.cat([member.widen.bias for member in members]))
    merged.presence.weight.copy_(torch.cat([member.presence.weight for member in members], 1) / len(members))
    merged.presence.bias.copy_(torch.stack([member.presence.bias for member in members]).mean(0))

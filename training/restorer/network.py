"""The restorer as the training loop calls it: one forward pass per step for crops and tone together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...model.guidance import Conditioning
from ...model.restorer.network import Restorer
from ...model.restorer.thumbnail_branches import Position, affine_preview


class RestorerInTraining(nn.Module):
    """Runs the restorer on a batch so that each branch learns from what it should.

    The tone branch learns from whole scenes alone (its preview), all others from the crops. Gradients of distributed
    training are exchanged per call of this module, hence one call for both.

    Attributes:
        restorer: The network that is trained and exported.
    """

    def __init__(self, restorer: Restorer) -> None:
        super().__init__()
        self.restorer = restorer

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor | None, list[Tensor], Tensor]:
        """Run a prepared batch (`RestorerTask.prepare`) of B scenes, of whose first S crops are taken.

        Args:
            batch: "thumbnail" [B, 3, T, T], "pooled" [B, D], "guidance_mask", "removal" and "severities" of all
                scenes, and "statistics" if the tone branch reads them; where there are crops also "tokens" [S, N, D],
                "crop" [C, 3, h, w], "place" [C, 4] and "scene" [C].

        Returns:
            The restored crops and their routing as `Restorer.restore_crop` returns them (None and empty where there are
            no crops), and the `affine_preview` [B, 3, A, A] of all scenes.
        """
        restorer, thumbnail = self.restorer, batch["thumbnail"].float()
        whole = Conditioning(
            pooled=batch["pooled"],
            mask=batch["guidance_mask"],
            removal=batch["removal"],
            severities=batch["severities"],
        )
        statistics = batch.get("statistics")
        affine = restorer.forward_tone(thumbnail, whole, statistics)
        preview = affine_preview(thumbnail, affine)
        if "crop" not in batch:
            return None, [], preview
        count = len(batch["tokens"])
        thumbnail, statistics = thumbnail[:count], None if statistics is None else statistics[:count]
        cropped = Conditioning(
            batch["tokens"],
            batch["pooled"][:count],
            batch["guidance_mask"][:count],
            batch["removal"][:count],
            severities=batch["severities"][:count],
        )
        with torch.no_grad():  # the crops do not teach the tone branch
            affine = restorer.mirrored_tone(affine[:count], thumbnail, cropped, statistics)
        context = restorer.encode_context(thumbnail, cropped, affine=affine).select(batch["scene"])
        restored, routing = restorer.restore_crop(batch["crop"].float(), context, Position(*batch["place"].unbind(1)))
        return restored, routing, preview

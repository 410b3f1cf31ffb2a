"""What the MLLM is trained to lower."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.mllm.head import ABSENT, SPAN, DegradationHead, Reading
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS
from mofe_restore.training.mllm.network import TONES, MllmInTraining, answer_loss, reading_losses, tone_of


def test_a_short_answer_counts_as_much_as_a_long_one() -> None:
    labels = torch.full((2, 6), -100)
    labels[0, 5] = 1
    labels[1, 1:] = 1
    logits = torch.zeros(2, 6, 2)
    logits[0, :, 1] = -4.0  # the short answer is wrong, the long one undecided
    long, short = torch.log(torch.tensor(2.0)), torch.log1p(torch.tensor(4.0).exp())
    assert float(answer_loss(logits, labels)) == pytest.approx(float(long + short) / 2, rel=1e-5)


def test_conversations_without_an_answer_do_not_count() -> None:
    labels = torch.full((2, 3), -100)
    labels[0, 2] = 0
    logits = torch.randn(2, 3, 4)
    assert torch.allclose(answer_loss(logits, labels), answer_loss(logits[:1], labels[:1]))


def test_tone_tells_brightness_and_coarse_contrast() -> None:
    flat = torch.full((3, 48, 36), 0.25)
    flat[1] = 0.5
    assert torch.allclose(tone_of(flat), torch.tensor([0.25, 0.5, 0.25, 0.0, 0.0, 0.0]), atol=1e-6)
    halves = torch.zeros(3, 48, 36)
    halves[:, :24] = 1.0
    assert len(tone_of(halves)) == TONES and bool((tone_of(halves)[3:] > 0.45).all())


def test_parameters_of_what_is_absent_count_for_a_quarter() -> None:
    reading = Reading(torch.zeros(1, 7), torch.zeros(1, 7), torch.zeros(1, 9))
    batch = {"presence": torch.zeros(1, 7), "strength": torch.zeros(1, 7), "parameters": ABSENT[None].clone()}
    batch["presence"][0, DEGRADATIONS.index("noise")] = 1
    losses = []
    for name in ("noise_sigma", "airlight"):
        wrong = batch["parameters"].clone()
        wrong[0, PARAMETERS.index(name)] += 0.5 * SPAN[PARAMETERS.index(name)]
        losses.append(reading_losses(reading, {**batch, "parameters": wrong})[2])
    assert losses[1] == pytest.approx(losses[0].item() / 4)


def test_heads_for_training_do_not_pull_at_the_model_before_they_have_learned() -> None:
    network = MllmInTraining(torch.nn.Identity(), DegradationHead(8))
    seen = torch.randn(2, 8, requires_grad=True)
    sum(part.sum() for part in (*network.early_head(seen), network.tone_head(seen))).backward()
    assert seen.grad is not None and not seen.grad.any()
    assert network.tone_head.weight.grad is not None and network.tone_head.weight.grad.any()

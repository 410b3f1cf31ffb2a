"""What the MLLM is trained to lower."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.mllm.head import ABSENT, SPAN, DegradationHead, Reading
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS
from mofe_restore.training.mllm.network import (
    TONES,
    Embedding,
    MllmInTraining,
    Seen,
    answer_loss,
    known_loss,
    moved,
    reading_losses,
    tone_of,
    tuning_loss,
)


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


def mixed_batch() -> dict[str, torch.Tensor]:
    """A generated scene without degradation, and a real photograph that has noise and whose haze is unknown."""
    batch = {
        "presence": torch.zeros(2, 7),
        "known": torch.ones(2, 7),
        "generated": torch.tensor([1.0, 0.0]),
        "strength": torch.zeros(2, 7),
        "parameters": ABSENT.expand(2, -1).clone(),
    }
    batch["presence"][1, DEGRADATIONS.index("noise")] = 1
    batch["known"][1, DEGRADATIONS.index("haze")] = 0
    return batch


def test_only_generated_scenes_teach_strengths_and_parameters() -> None:
    batch = mixed_batch() | {"kept_tokens": torch.zeros(1, 2, 8), "kept_pooled": torch.zeros(1, 8)}
    embedding = Embedding(torch.zeros(2, 2, 8), torch.zeros(2, 8), torch.zeros(2, 7))
    found = []
    for wrong in (0.0, 3.0):
        reading = Reading(torch.zeros(2, 7), *(torch.tensor([[0.0], [wrong]]).repeat(1, size) for size in (7, 9)))
        parts = tuning_loss(Seen(torch.tensor(0.0), reading, reading, torch.zeros(2, TONES)), embedding, batch, 1.0)
        found.append((parts["loss"], parts["strength"], parts["parameters"]))
    assert found[0] == found[1]


def test_of_a_real_photograph_only_what_is_known_is_taught() -> None:
    batch, logits = mixed_batch(), torch.zeros(2, 7)
    before = known_loss(logits, batch)
    logits[0], logits[1, DEGRADATIONS.index("haze")] = 9.0, 9.0
    assert torch.equal(known_loss(logits, batch), before)
    logits[1, DEGRADATIONS.index("noise")] = 9.0
    assert known_loss(logits, batch) < before
    logits[1, DEGRADATIONS.index("rain")] = 9.0
    assert known_loss(logits, batch) > before


def test_a_move_of_the_embedding_is_told_as_a_share_of_its_variance() -> None:
    before = torch.randn(6, 5, 8)
    assert moved(before, before) == 0
    assert float(moved(before + 0.5, before)) == pytest.approx(
        0.25 / float(before.var(0, correction=0).mean()), rel=1e-4
    )
    assert float(moved(9 * before + 4.5, 9 * before)) == pytest.approx(float(moved(before + 0.5, before)), rel=1e-4)


def test_heads_for_training_do_not_pull_at_the_model_before_they_have_learned() -> None:
    network = MllmInTraining(torch.nn.Identity(), DegradationHead(8))
    seen = torch.randn(2, 8, requires_grad=True)
    sum(part.sum() for part in (*network.early_head(seen), network.tone_head(seen))).backward()
    assert seen.grad is not None and not seen.grad.any()
    assert network.tone_head.weight.grad is not None and network.tone_head.weight.grad.any()

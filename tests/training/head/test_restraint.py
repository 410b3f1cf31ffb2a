"""Good photographs teach the network of presence what is not there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.mllm.head import DegradationHead
from mofe_restore.training.head.config import RestraintConfig
from mofe_restore.training.head.examples import Examples
from mofe_restore.training.head.restraint import make_lessons, restrained


def as_examples(pooled: Tensor, *present: int) -> Examples:
    """Embeddings of images of which everything is known."""
    presence = torch.zeros(len(pooled), 7)
    presence[:, list(present)] = 1
    return Examples(pooled, presence, torch.ones_like(presence))


def head_that_reads(weights: dict[tuple[int, int], float]) -> DegradationHead:
    """A head with an untrained network of presence and these weights of (degradation, feature), else 0."""
    torch.manual_seed(0)
    head = DegradationHead(8, 16).eval()
    with torch.no_grad():
        head.read.bias.zero_()
        head.read.weight.zero_()
        for place, weight in weights.items():
            head.read.weight[place] = weight
    return head


def test_good_photographs_teach_what_is_not_there_and_real_ones_hold_what_is() -> None:
    head = head_that_reads({(1, 0): 2.0, (2, 0): 2.0})  # what has much of the first feature seems hazy and rainy
    fur, fog = torch.randn(200, 8) * 0.3, torch.randn(200, 8) * 0.3
    fur[:, :2] += torch.tensor([1.0, 1.0])
    fog[:, :2] += torch.tensor([1.0, -1.0])
    presence, known = torch.zeros(200, 7), torch.zeros(200, 7)
    presence[:, 1] = known[:, 1] = 1
    real = Examples(fog, presence, known)
    generated = Examples(torch.cat([fur, fog]), torch.cat([torch.zeros(200, 7), presence]), torch.ones(400, 7))
    config = RestraintConfig(degradations=("haze",), steps=300, batch=64, learning_rate=1e-2)
    restrained_head = restrained(
        head, make_lessons(head, fur, fur - 2, (as_examples(fur),) * 2, generated, real, config), config, 0
    )
    before, of_fur, of_fog = head(fur).presence, restrained_head(fur).presence, restrained_head(fog).presence
    assert (before[:, 1] > 0).float().mean() > 0.9 > 0.1 > (of_fur[:, 1] > 0).float().mean()
    assert (of_fog[:, 1] > 0).float().mean() > 0.9
    assert (of_fur - before)[:, 2].abs().mean() < 0.2 * (of_fur - before)[:, 1].abs().mean(), "rain was not asked for"
    assert torch.equal(restrained_head.read.weight, head.read.weight)


def test_noise_does_not_change_whether_a_good_photograph_is_dark() -> None:
    head = head_that_reads({(0, 0): 3.0, (0, 1): 2.0})  # dark; noise, which seems dark, too
    bright, dark = torch.randn(200, 8) * 0.2, torch.randn(200, 8) * 0.2
    bright[:, 0] -= 0.5
    dark[:, 0] += 0.5
    good = torch.cat([bright, dark])
    noisy = good + torch.eye(8)[1] * 1.5
    presence, known = torch.zeros(200, 7), torch.zeros(200, 7)
    presence[:, 0] = known[:, 0] = 1
    real = Examples(dark, presence, known)
    config = RestraintConfig(steps=300, batch=64, learning_rate=1e-2)
    lessons = make_lessons(head, good, dark, (as_examples(noisy),) * 2, real, real, config)
    of_noisy = restrained(head, lessons, config, 0)(noisy).presence[:, 0]
    assert (head(noisy).presence[:200, 0] > 0).float().mean() > 0.9 > 0.1 > (of_noisy[:200] > 0).float().mean()
    assert (of_noisy[200:] > 0).float().mean() > 0.9


def test_what_real_photographs_do_not_show_is_unlearned() -> None:
    head = head_that_reads({(5, 0): 2.0})  # what is soft seems blurred
    soft, blurred = torch.randn(200, 8) * 0.3, torch.randn(200, 8) * 0.3
    soft[:, :2] += torch.tensor([1.0, 1.0])
    blurred[:, :2] += torch.tensor([1.0, -1.0])
    known = torch.zeros(200, 7)
    known[:, 5] = 1
    real = Examples(soft, torch.zeros(200, 7), known)
    generated = Examples(blurred, known, torch.ones(200, 7))
    config = RestraintConfig(steps=300, batch=64, learning_rate=1e-2)
    faulty = (as_examples(blurred, 5),) * 2
    pupil = restrained(head, make_lessons(head, blurred, blurred, faulty, generated, real, config), config, 0)
    assert (pupil(soft).presence[:, 5] > 0).float().mean() < 0.1 < 0.9 < (head(soft).presence[:, 5] > 0).float().mean()
    assert (pupil(blurred).presence[:, 5] > 0).float().mean() > 0.9


def test_faults_of_a_camera_on_good_photographs_are_learned_and_noise_beside_them_is_not() -> None:
    head = head_that_reads({(5, 0): 2.0, (4, 0): 2.0})  # the blocks of a JPEG seem blurred and noisy
    good, blocks, soft = (torch.randn(200, 8) * 0.3 for _ in range(3))
    blocks[:, :2] += torch.tensor([1.0, 1.0])
    soft[:, :2] += torch.tensor([1.0, -1.0])
    noisy, faulty = as_examples(good, 4), as_examples(blocks, 6).and_more(as_examples(soft, 5))
    faulty = Examples(*(each[::2] for each in (faulty.pooled, faulty.presence, faulty.known)))
    nothing = Examples(good, torch.zeros(200, 7), torch.zeros(200, 7))
    config = RestraintConfig(steps=300, batch=64, learning_rate=1e-2)
    called_blurred = {}
    for weight in (1.0, 0.0):
        weighed = replace(config, faults_weight=weight)
        lessons = make_lessons(head, good, good, (noisy, faulty), nothing, nothing, weighed)
        pupil = restrained(head, lessons, weighed, 0)
        assert (pupil(soft).presence[:, 5] > 0).float().mean() > 0.9
        called_blurred[weight] = float((pupil(blocks).presence[:, 5] > 0).float().mean())
    assert called_blurred[1.0] < 0.1 < 0.9 < called_blurred[0.0]


@pytest.mark.parametrize(("name", "reason"), [("fog", "which is none"), ("low_light", "teach in another way")])
def test_what_restrains_a_head_names_degradations(name: str, reason: str) -> None:
    with pytest.raises(TrainingError, match=rf"degradations in \[restraint\] names {name}, .*{reason}"):
        RestraintConfig(degradations=(name,))

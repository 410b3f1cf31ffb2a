"""A second look without noise and JPEG, and what is judged by both looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mofe_restore.model.guidance import Directions, Guidance
from mofe_restore.model.mllm.describer import Mllm
from mofe_restore.model.mllm.head import Reading
from mofe_restore.model.mllm.loading import load_mllm
from mofe_restore.model.mllm.second_look import JUDGED, SECOND_SETS, by_both_looks, hiding_faults
from mofe_restore.model.mllm.views import CROPS, VIEW_SIDE
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS
from mofe_restore.model.whole_image import PREVIEW_STATISTICS, image_statistics

LOW, HAZE, RAIN, NOISE = (DEGRADATIONS.index(name) for name in ("low_light", "haze", "rain", "noise"))

MakeGuidance = Callable[..., Guidance]


def reading(present: dict[str, float], strength: float = 0.4) -> Reading:
    """Return what a head reads: the probability of some degradations, 0.02 of the others."""
    probability = torch.tensor([[present.get(name, 0.02) for name in DEGRADATIONS]])
    return Reading(probability.logit(), torch.full((1, 7), strength), torch.full((1, len(PARAMETERS)), strength))


@pytest.fixture
def seen(make_guidance: MakeGuidance) -> Callable[[Reading], Guidance]:
    def seen(first: Reading) -> Guidance:
        known = {"scores": first.scores(), "parameters": first.physical(), "certainty": first.certainty()}
        return replace(make_guidance(), **known)

    return seen


def logits(**present: float) -> Tensor:
    """Return the logits of a second look: the probability of some of `JUDGED`, 0.02 of the others."""
    return torch.tensor([[present.get(name, 0.02) for name in JUDGED]]).logit()


def test_the_network_judges_low_light_and_weather_and_the_first_look_all_else(
    seen: Callable[[Reading], Guidance],
) -> None:
    first = reading({"noise": 0.99, "rain": 0.3, "haze": 0.6}, strength=0.2)
    second = reading({"noise": 0.1, "rain": 0.9, "haze": 0.1}, strength=0.6)
    before, judged = seen(first), by_both_looks(seen(first), first, second, logits(rain=0.8, haze=0.35))
    assert judged.certainty is not None
    assert judged.certainty[0, [HAZE, RAIN, NOISE]].tolist() == pytest.approx([0.35, 0.8, 0.99], abs=1e-5)
    expected = [0.35, 0.5 + 0.5 * 0.4, 0.5 + 0.5 * 0.2]
    assert judged.scores[0, [HAZE, RAIN, NOISE]].tolist() == pytest.approx(expected, abs=1e-5)
    rain, beta, sigma = (PARAMETERS.index(name) for name in ("rain_coverage", "haze_beta", "noise_sigma"))
    assert float(judged.parameters[0, rain]) == pytest.approx(0.4 * 0.3)
    assert float(judged.parameters[0, beta]) == 0.0 < float(before.parameters[0, beta])
    assert float(judged.parameters[0, sigma]) == float(before.parameters[0, sigma])


def test_without_a_second_look_rain_and_snow_are_mostly_the_head_s_to_judge(
    seen: Callable[[Reading], Guidance],
) -> None:
    first = reading({"haze": 0.5, "rain": 0.1, "snow": 0.8, "low_light": 0.1})
    presence = logits(haze=0.9, rain=0.99, snow=0.1, low_light=0.1)
    judged = by_both_looks(seen(first), first, None, presence)
    assert judged.certainty is not None
    mixed = torch.lerp(first.presence[0, :4], presence[0], torch.tensor([0.5, 0.8, 0.3, 0.2])).sigmoid()
    assert judged.certainty[0, :4].tolist() == pytest.approx(mixed.tolist(), abs=1e-5)
    assert judged.certainty[0, :4].gt(0.5).tolist() == [False, True, False, True]
    assert float(judged.scores[0, HAZE]) == pytest.approx(0.5 + 0.5 * 0.4, abs=1e-5)


@pytest.mark.parametrize(("network", "certainty"), [(0.9, 0.9), (0.5, 0.608), (0.1, 0.211)])
def test_of_low_light_the_first_look_says_a_quarter_of_what_the_network_says(
    network: float, certainty: float, seen: Callable[[Reading], Guidance]
) -> None:
    first = reading({"noise": 0.99, "low_light": 0.9}, strength=0.2)
    judged = by_both_looks(seen(first), first, reading({}, strength=0.6), logits(low_light=network))
    assert judged.certainty is not None
    assert float(judged.certainty[0, LOW]) == pytest.approx(certainty, abs=1e-3)
    if certainty > 0.5:
        assert float(judged.scores[0, LOW]) == pytest.approx(0.6), "its strength is the first look's"
        exponent = PARAMETERS.index("light_exponent")
        assert float(judged.parameters[0, exponent]) == pytest.approx(1 + 2 * 0.2)


def test_what_is_called_present_no_longer_leaves_the_embedding(seen: Callable[[Reading], Guidance]) -> None:
    first = reading({"haze": 0.8, "rain": 0.7})
    guidance = seen(first)
    width, tokens = guidance.pooled.shape[1], guidance.tokens.shape[1]
    moves = torch.arange(1.0, 8.0)[:, None, None].expand(7, 2, width)
    guidance = replace(guidance, directions=Directions(moves[:, :, None].expand(7, 2, tokens, width), moves))
    judged = by_both_looks(guidance, first, reading({"rain": 0.7}), logits(rain=0.7))
    only_haze = guidance.seeing({"haze": 0.0})
    assert torch.equal(judged.pooled, only_haze.pooled) and not torch.equal(judged.pooled, guidance.pooled)
    assert torch.equal(judged.tokens, only_haze.tokens)


def test_noise_and_jpeg_hide_the_weather_and_blur_does_not(seen: Callable[[Reading], Guidance]) -> None:
    assert hiding_faults(seen(reading({"haze": 0.9, "blur": 0.9}))) is None
    faults = hiding_faults(seen(reading({"noise": 0.9, "blur": 0.9}, strength=0.3)))
    assert faults is not None and faults[0].tolist() == pytest.approx([0.3, 0.0, 0.0])
    faults = hiding_faults(seen(reading({"jpeg": 0.9}, strength=0.3)))
    assert faults is not None and faults[0].tolist() == pytest.approx([0.0, 0.0, 0.3])


class Grey:
    """A helper that leaves nothing but grey, remembers what it was given, and foretells the same of every image."""

    def __init__(self, foretold: float = 0.0, mllm_identity: str = "") -> None:
        self.mllm_identity = mllm_identity
        self.given: list[tuple[Tensor, Tensor]] = []
        self.without: list[Tensor | None] = []
        self.foretold = torch.full((1, PREVIEW_STATISTICS), foretold)

    def clean(self, crops: Tensor, strengths: Tensor) -> Tensor:
        self.given.append((crops, strengths))
        return torch.full_like(crops, 0.5)

    def preview(self, image: Tensor, pooled: Tensor, faults: Tensor | None = None) -> Tensor:
        assert image.dim() == 4 and pooled.shape[0] == 1
        self.without.append(faults)
        return self.foretold


class TestMllm:
    @pytest.fixture
    def mllm(self, tiny_mllm_folder: Path) -> Mllm:
        return load_mllm(tiny_mllm_folder)

    @staticmethod
    def _see(mllm: Mllm, name: str) -> None:
        """Let the head call one degradation present at half its strength in every image, and no other."""
        head = mllm.network.head
        assert head is not None
        with torch.no_grad():
            for each in head.parameters():
                each.zero_()
            head.read.bias[:7] = -3.0
            head.read.bias[DEGRADATIONS.index(name)] = 3.0
            head.read.bias[7:14] = 0.5

    def test_where_noise_is_seen_it_looks_at_clean_crops(self, mllm: Mllm) -> None:
        self._see(mllm, "noise")
        helper, image = Grey(), torch.rand(1, 3, 400, 300)
        mllm.describe(image, with_text=False, helper=helper)
        ((crops, strengths),) = helper.given
        assert crops.shape == (SECOND_SETS * CROPS, 3, VIEW_SIDE, VIEW_SIDE)
        top, left = 100 - VIEW_SIDE // 2, 75 - VIEW_SIDE // 2
        assert any(
            torch.equal(crops[0], image[0, :, row : row + VIEW_SIDE, column : column + VIEW_SIDE])
            for row in range(top - 7, top + 1)
            for column in range(left - 7, left + 1)
        )
        assert strengths[0].tolist() == pytest.approx([0.5, 0.0, 0.0])

    def test_the_network_is_given_both_embeddings(self, mllm: Mllm) -> None:
        self._see(mllm, "noise")
        image, judge = torch.rand(1, 3, 200, 300), mllm.network.second_look
        assert judge is not None
        once = mllm.describe(image, with_text=False)
        cleaned = mllm.view_sets(image[0], SECOND_SETS, lambda crops: torch.full_like(crops, 0.5))
        statistics = image_statistics(image[0])[None]
        again, helper = mllm.embed(cleaned)[1].mean(0, keepdim=True), Grey(0.7)
        expected = judge(once.pooled, again, statistics, helper.foretold).sigmoid()[0]
        twice = mllm.describe(image, with_text=False, helper=helper)
        assert twice.certainty is not None and once.certainty is not None
        assert torch.allclose(twice.certainty[0, [HAZE, RAIN]], expected[1:3], atol=1e-4)
        assert not torch.allclose(twice.certainty, once.certainty, atol=1e-2)

    def test_what_a_restorer_foretells_is_of_the_image_without_noise(self, mllm: Mllm) -> None:
        image, helper = torch.rand(1, 3, 120, 120), Grey()
        for name in ("noise", "rain"):
            self._see(mllm, name)
            mllm.describe(image.roll(len(helper.without), 3), with_text=False, helper=helper)
        faults, nothing = helper.without
        assert faults is not None and faults[0].tolist() == pytest.approx([0.5, 0.0, 0.0]) and nothing is None

    def test_without_its_network_it_looks_once(self, mllm: Mllm) -> None:
        self._see(mllm, "noise")
        mllm.network.second_look = None
        helper, image = Grey(), torch.rand(1, 3, 120, 120)
        mllm.describe(image, with_text=False, helper=helper)
        assert not mllm.looks_twice and not helper.given

    def test_without_noise_and_without_helper_it_looks_once(self, mllm: Mllm) -> None:
        self._see(mllm, "haze")
        helper, image = Grey(), torch.rand(1, 3, 120, 120)
        mllm.describe(image, with_text=False, helper=helper)
        assert not helper.given

    def test_where_nothing_hides_the_network_sees_the_first_look_twice(self, mllm: Mllm) -> None:
        self._see(mllm, "rain")
        image, judge = torch.rand(1, 3, 120, 120), mllm.network.second_look
        assert judge is not None
        look = mllm.first_look(image[0])
        assert look.faults is None and torch.equal(look.seen.scores[:, RAIN], look.reading.scores()[:, RAIN])
        network = judge(look.pooled, look.pooled, image_statistics(image[0])[None])[0]
        seen = mllm.describe(image, with_text=False).certainty
        assert seen is not None
        expected = torch.lerp(look.reading.presence[0, [LOW, HAZE]], network[:2], torch.tensor([0.5, 0.8])).sigmoid()
        assert torch.allclose(seen[0, [LOW, HAZE]], expected, atol=1e-5)

    def test_what_a_restorer_foretells_counts_and_without_one_it_is_as_in_most_images(self, mllm: Mllm) -> None:
        self._see(mllm, "rain")
        image, judge = torch.rand(1, 3, 120, 120), mllm.network.second_look
        assert judge is not None
        judge.mean[-PREVIEW_STATISTICS:] = 0.3
        alone, usual, other = (
            mllm.describe(image, with_text=False, helper=helper).certainty for helper in (None, Grey(0.3), Grey(0.9))
        )
        assert alone is not None and usual is not None and other is not None
        assert torch.equal(alone, usual) and not torch.allclose(alone, other, atol=1e-3)
        own, foreign = (
            mllm.describe(image, with_text=False, helper=Grey(0.9, identity)).certainty
            for identity in (mllm.identity, "another:0123")
        )
        assert own is not None and torch.equal(own, other)
        assert foreign is not None and torch.equal(foreign, alone), "it cannot read these embeddings"

    def test_noise_that_nobody_removes_leaves_all_to_the_head(self, mllm: Mllm) -> None:
        self._see(mllm, "noise")
        image = torch.rand(1, 3, 120, 120)
        look = mllm.first_look(image[0])
        assert look.faults is not None and look.seen.certainty is not None
        seen = mllm.describe(image, with_text=False).certainty
        assert seen is not None and torch.equal(seen, look.seen.certainty)

    def test_one_look_is_not_taken_for_two(self, mllm: Mllm) -> None:
        self._see(mllm, "noise")
        helper, image = Grey(), torch.rand(1, 3, 120, 120)
        mllm.describe(image, with_text=False)
        mllm.describe(image, with_text=False, helper=helper)
        mllm.describe(image, with_text=False, helper=helper)
        assert len(helper.given) == 1

    def test_the_look_of_a_helper_that_is_gone_is_not_taken_for_that_of_another(self, mllm: Mllm) -> None:
        self._see(mllm, "noise")
        image, helps = torch.rand(1, 3, 120, 120), 0
        for _ in range(5):  # each at the address of the one before
            helper = Grey()
            mllm.describe(image, with_text=False, helper=helper)
            helps += len(helper.given)
            del helper
        assert helps == 5

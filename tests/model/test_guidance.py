"""Guidance for one image or for a batch, and the tensors that the restorer takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mofe_restore.model.errors import GuidanceError
from mofe_restore.model.guidance import Conditioning, Guidance


class TestGuidance:
    def guidance(self, images: int) -> Guidance:
        return Guidance(
            torch.rand(images, 4, 8),
            torch.rand(images, 8),
            torch.rand(images, 7),
            torch.rand(images, 9),
            tuple(str(index) for index in range(images)),
            "some:1",
        )

    def test_one_description_serves_a_whole_batch(self) -> None:
        assert self.guidance(1).for_frame(4, 6).descriptions == ("0",)

    def test_each_frame_gets_its_own(self) -> None:
        assert self.guidance(3).for_frame(2, 3).descriptions == ("2",)

    def test_another_number_of_frames_is_an_error(self) -> None:
        with pytest.raises(GuidanceError, match="describes 3 images but the batch has 2"):
            self.guidance(3).for_frame(0, 2)

    def test_joining_undoes_splitting(self) -> None:
        whole = self.guidance(3)
        joined = Guidance.join([whole[index] for index in range(3)])
        assert torch.equal(joined.tokens, whole.tokens)
        assert joined.descriptions == whole.descriptions

    def test_frames_outside_are_refused(self) -> None:
        with pytest.raises(IndexError, match="is for 3 images"):
            self.guidance(3)[3]

    def test_the_removal_is_set_by_name_and_survives_everything_done_to_guidance(self) -> None:
        steered = self.guidance(2).with_removal({"haze": 0.0}).with_removal({"rain": 0.5})
        assert steered.removal is not None
        assert steered.removal.tolist() == [[1.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]] * 2
        for same in (steered[1], steered.for_frame(0, 2), steered.to("cpu")[0]):
            assert same.removal is not None
            assert same.removal.tolist() == [[1.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]]

    @pytest.mark.parametrize(
        ("scores", "amount"),
        [
            ((0.05, 0.05, 0.4, 0.4, 0.9, 0.9, 0.9), 0.0),
            ((0.125, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.5),
            ((0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0), 1.0),
            ((0.0, 0.0, 0.6, 0.0, 0.0, 0.0, 0.0), 1.0),
            ((0.1, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0), 1.0),
        ],
    )
    def test_the_tone_is_corrected_as_far_as_the_mllm_sees_low_light_or_weather(
        self, scores: tuple[float, ...], amount: float
    ) -> None:
        seen = replace(self.guidance(1), scores=torch.tensor([scores]))
        assert seen.tone_removal()[0].tolist() == pytest.approx([amount, amount, 1.0, 1.0, 1.0, 1.0, 1.0])
        assert seen.removal is None, "the removal of the other branches stays as it was"
        steered = seen.with_removal({"low_light": 0.5, "rain": 0.0}).tone_removal()
        assert steered[0].tolist() == pytest.approx([0.5 * amount, amount, 0.0, 1.0, 1.0, 1.0, 1.0])

    def test_a_forced_removal_takes_place_whether_the_mllm_detects_it_or_not(self) -> None:
        unseen = replace(self.guidance(2), scores=torch.zeros(2, 7))
        unseen = unseen.with_removal({"haze": 1.0}, ["haze"]).with_removal({})
        for same in (unseen, unseen[1], unseen.to("cpu"), Guidance.join([self.guidance(1), unseen])[1]):
            assert same.tone_removal()[-1].tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        assert unseen.with_removal({"haze": 0.0}).tone_removal()[0, 1] == 0
        with pytest.raises(GuidanceError, match="no degradation 'everything'"):
            unseen.with_removal({}, ["everything"])

    def test_later_amounts_multiply_earlier_ones(self) -> None:
        steered = self.guidance(1).with_removal({"haze": 0.0, "rain": 0.5})
        steered = steered.with_removal({"haze": 1.0, "rain": 0.5})
        assert steered.removal is not None
        assert steered.removal.tolist() == [[1.0, 0.0, 0.25, 1.0, 1.0, 1.0, 1.0]]

    def test_joined_guidance_without_amounts_removes_all(self) -> None:
        assert Guidance.join([self.guidance(1), self.guidance(1)]).removal is None
        joined = Guidance.join([self.guidance(1).with_removal({"snow": 0.0}), self.guidance(1)])
        assert joined.removal is not None
        assert joined.removal.sum(1).tolist() == [6.0, 7.0]

    @pytest.mark.parametrize(
        ("removal", "sentence"), [({"fog": 0.0}, "no degradation 'fog'"), ({"rain": 2.0}, "is 2.0")]
    )
    def test_an_amount_that_makes_no_sense_is_refused(self, removal: dict[str, float], sentence: str) -> None:
        with pytest.raises(GuidanceError, match=sentence):
            self.guidance(1).with_removal(removal)

    def test_the_restorer_takes_its_tensors_in_fp32_with_the_removal_of_the_tone(self) -> None:
        plain = self.guidance(2)
        half = replace(plain, tokens=plain.tokens.half(), pooled=plain.pooled.bfloat16())
        conditioning = half.to_conditioning("cpu")
        assert conditioning.tokens is not None and conditioning.pooled is not None
        assert conditioning.tokens.dtype == conditioning.pooled.dtype == torch.float32
        assert torch.equal(conditioning.tokens, half.tokens.float())
        assert conditioning.mask is None and conditioning.removal is None
        assert conditioning.tone_removal is not None
        assert torch.equal(conditioning.tone_removal, plain.tone_removal())
        steered = plain.with_removal({"rain": 0.5}).to_conditioning("cpu")
        assert steered.removal is not None and steered.removal[0, 2] == 0.5


class TestConditioning:
    def test_the_tone_branch_has_a_removal_of_its_own_or_that_of_the_others(self) -> None:
        removal, of_tone = torch.rand(1, 7), torch.rand(1, 7)
        shared = Conditioning(removal=removal)
        assert shared.for_tone.removal is removal
        own = Conditioning(removal=removal, tone_removal=of_tone)
        assert own.for_tone.removal is of_tone and own.removal is removal

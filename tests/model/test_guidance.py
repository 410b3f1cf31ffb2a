"""Guidance for one picture or for a batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mofe_restore.model.guidance import Guidance, GuidanceError


class TestGuidance:
    def guidance(self, pictures: int) -> Guidance:
        return Guidance(
            torch.rand(pictures, 4, 8),
            torch.rand(pictures, 8),
            torch.rand(pictures, 7),
            torch.rand(pictures, 9),
            tuple(str(index) for index in range(pictures)),
            "some:1",
        )

    def test_one_description_serves_a_whole_batch(self) -> None:
        assert self.guidance(1).for_frame(4, 6).descriptions == ("0",)

    def test_each_frame_gets_its_own(self) -> None:
        assert self.guidance(3).for_frame(2, 3).descriptions == ("2",)

    def test_another_number_of_frames_is_an_error(self) -> None:
        with pytest.raises(GuidanceError, match="describes 3 pictures but the batch has 2"):
            self.guidance(3).for_frame(0, 2)

    def test_joining_undoes_splitting(self) -> None:
        whole = self.guidance(3)
        joined = Guidance.join([whole[index] for index in range(3)])
        assert torch.equal(joined.tokens, whole.tokens)
        assert joined.descriptions == whole.descriptions

    def test_frames_outside_are_refused(self) -> None:
        with pytest.raises(IndexError, match="holds 3 pictures"):
            self.guidance(3)[3]

    def test_steering_names_what_to_remove_and_survives_everything_done_to_guidance(self) -> None:
        steered = self.guidance(2).steered({"haze": 0.0}).steered({"rain": 0.5})
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
        assert seen.removal is None, "what is told to all else stays as it was"
        wished = seen.steered({"low_light": 0.5, "rain": 0.0}).tone_removal()
        assert wished[0].tolist() == pytest.approx([0.5 * amount, amount, 0.0, 1.0, 1.0, 1.0, 1.0])

    def test_what_is_ordered_gone_by_name_goes_whether_it_is_seen_or_not(self) -> None:
        unseen = replace(self.guidance(2), scores=torch.zeros(2, 7)).steered({"haze": 1.0}, ["haze"]).steered({})
        for same in (unseen, unseen[1], unseen.to("cpu"), Guidance.join([self.guidance(1), unseen])[1]):
            assert same.tone_removal()[-1].tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        assert unseen.steered({"haze": 0.0}).tone_removal()[0, 1] == 0
        with pytest.raises(GuidanceError, match="no degradation 'everything'"):
            unseen.steered({}, ["everything"])

    def test_later_wishes_come_on_top_of_earlier_ones(self) -> None:
        steered = self.guidance(1).steered({"haze": 0.0, "rain": 0.5}).steered({"haze": 1.0, "rain": 0.5})
        assert steered.removal is not None
        assert steered.removal.tolist() == [[1.0, 0.0, 0.25, 1.0, 1.0, 1.0, 1.0]]

    def test_joined_guidance_without_wishes_removes_all(self) -> None:
        assert Guidance.join([self.guidance(1), self.guidance(1)]).removal is None
        joined = Guidance.join([self.guidance(1).steered({"snow": 0.0}), self.guidance(1)])
        assert joined.removal is not None
        assert joined.removal.sum(1).tolist() == [6.0, 7.0]

    @pytest.mark.parametrize(("wish", "sentence"), [({"fog": 0.0}, "no degradation 'fog'"), ({"rain": 2.0}, "is 2.0")])
    def test_a_wish_that_makes_no_sense_is_refused(self, wish: dict[str, float], sentence: str) -> None:
        with pytest.raises(GuidanceError, match=sentence):
            self.guidance(1).steered(wish)

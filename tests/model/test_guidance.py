"""Guidance for one image or for a batch, and the tensors that the restorer takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mofe_restore.model.errors import GuidanceError
from mofe_restore.model.guidance import Conditioning, Directions, Guidance
from mofe_restore.model.vocabulary import ASSUMED_SEVERITIES, DEGRADATIONS, PRESENT, score_from_strength
from mofe_restore.tests.factories import make_guidance


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
            ((0.4, 0.4, 0.4, 0.4, 0.9, 0.9, 0.9), 0.0),
            ((0.45, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.5),
            ((0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0), 1.0),
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


def directions() -> Directions:
    """Moves of 1 per third of the strength along an axis of each degradation."""
    pooled = torch.zeros(7, 3, 16)
    for index in range(7):
        pooled[index, :, index] = torch.tensor([1.0, 2.0, 3.0])
    return Directions(pooled[:, :, None].repeat(1, 1, 5, 1), pooled)


def guidance_with(scores: dict[str, float]) -> Guidance:
    values = torch.tensor([[scores.get(name, 0.0) for name in DEGRADATIONS]])
    return replace(make_guidance(), scores=values, directions=directions())


def moved(guidance: Guidance, start: Guidance) -> list[float]:
    assert torch.allclose(guidance.tokens - start.tokens, (guidance.pooled - start.pooled)[:, None], atol=1e-5)
    return [round(value, 4) for value in (guidance.pooled - start.pooled)[0, :7].tolist()]


class TestSeverities:
    def test_a_direction_is_linear_between_its_strengths(self) -> None:
        at = [float(directions().at(4, strength)[1][4]) for strength in (0.0, 1 / 6, 1 / 3, 0.5, 1.0)]
        assert at == pytest.approx([0.0, 0.5, 1.0, 1.5, 3.0], abs=1e-5)

    def test_a_severity_that_is_set_moves_the_embedding_from_what_was_seen(self) -> None:
        seen = guidance_with({"noise": 0.75, "rain": 0.1})
        told = seen.with_severities({"noise": 1.0, "rain": 0.5})
        assert moved(told, seen) == [0.0, 0.0, 1.5, 0.0, 1.5, 0.0, 0.0]
        assert told.scores[0].tolist() == [0.0, 0.0, 0.75, 0.0, 1.0, 0.0, 0.0]
        assert told.forced is not None and told.forced[0].tolist() == [False, False, True, False, True, False, False]

    def test_a_severity_of_0_means_absent_and_nothing_is_removed(self) -> None:
        seen = guidance_with({"haze": 1.0})
        told = seen.with_severities({"haze": 0.0})
        assert moved(told, seen) == [0.0, -3.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        assert told.removal is not None and told.removal[0].tolist() == [1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    def test_of_several_severities_the_last_one_holds(self) -> None:
        rain, other = DEGRADATIONS.index("rain"), guidance_with({})
        seen = guidance_with({"rain": 0.7, "haze": 0.8}).with_removal({"rain": 0.5})
        absent = seen.with_severities({"rain": 0.0})
        for same in (
            absent,
            absent[0],
            absent.to("cpu"),
            absent.for_frame(2, 3),
            Guidance.join([absent, other])[0],
            absent.with_severities({"haze": 0.0}).with_severities({"haze": 0.8}),
            seen.with_severities({"rain": 0.3}).with_severities({"rain": 0.0}),
        ):
            removal = same.to_conditioning("cpu").removal
            assert removal is not None and removal[0].tolist() == [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
            assert same.removal is not None and torch.equal(same.removal, removal)
            again = same.with_removal({"rain": 0.8}).with_severities({"rain": 0.6})
            once = seen.with_removal({"rain": 0.8}).with_severities({"rain": 0.6})
            for name in ("removal", "tone_removal"):
                given, expected = (getattr(each.to_conditioning("cpu"), name) for each in (again, once))
                assert torch.allclose(given, expected), name
            assert again.severities is not None and float(again.severities[0, rain]) == pytest.approx(0.6)
            assert again.removal is not None and float(again.removal[0, rain]) == pytest.approx(0.4)
            assert again.camera_strengths().equal(once.camera_strengths())
            assert again.share().tolist() == [1.0] and bool(again.has_work()) and bool(again.reaches(PRESENT))

    def test_what_was_set_after_the_camera_branch_has_no_say_before_it(self) -> None:
        guidance = guidance_with({"noise": 0.7, "rain": 0.8})
        rest = guidance.after_camera_branch()
        assert rest.removal is not None and rest.removal[0].tolist() == [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0]
        told = guidance.with_severities({"noise": 0.0}).with_severities({"noise": 0.4})
        assert told.camera_strengths()[0].tolist() == pytest.approx([0.4, 0.0, 0.0])
        assert bool((told.after_camera_branch().camera_strengths() == 0).all())

    def test_a_fault_that_is_absent_at_last_has_no_strength_whatever_was_ordered_before(self) -> None:
        for ordered in (guidance_with({}).with_removal({}, ["noise"]), guidance_with({}).with_severities({"noise": 1})):
            assert bool(ordered.camera_faults().any())
            assert not bool(ordered.with_severities({"noise": 0.0}).camera_faults().any())

    def test_an_order_leaves_what_was_set_to_be_absent(self) -> None:
        absent = guidance_with({}).with_severities({"rain": 0.0})
        told = absent.removing_only({"rain": 1.0})
        assert moved(told, absent) == [0.0] * 7
        assert told.removal is not None and told.removal[0, DEGRADATIONS.index("rain")] == 0
        assert told.severities is not None and told.severities[0, DEGRADATIONS.index("rain")] == 0

    def test_severities_that_are_set_condition_the_restorer(self) -> None:
        seen = make_guidance(2)
        assert seen.to_conditioning("cpu").severities is None
        assert seen.with_severities({}) is seen
        told = seen.with_severities({"noise": 0.4}).with_severities({"rain": 0.0}).to_conditioning("cpu").severities
        assert told is not None and told.shape == (2, 7)
        assert told[:, DEGRADATIONS.index("noise")].tolist() == pytest.approx([0.4, 0.4])
        assert told[:, DEGRADATIONS.index("rain")].tolist() == [0.0, 0.0]
        assert int(told.isnan().sum()) == 10
        joined = Guidance.join([seen[0].with_severities({"noise": 0.4}), seen[1]])
        assert joined.severities is not None and joined.severities.isnan().sum(1).tolist() == [6, 7]

    def test_nonsense_is_an_error(self) -> None:
        for wrong in ({"grain": 0.5}, {"noise": 1.5}):
            with pytest.raises(GuidanceError):
                guidance_with({}).with_severities(wrong)

    def test_an_order_acts_on_what_is_not_seen_and_keeps_what_is_visible_beside_it(self) -> None:
        seen = guidance_with({"haze": 0.6, "snow": 0.6, "low_light": 0.01, "blur": 0.05})
        told = seen.removing_only({"noise": 0.5})
        amount = 3 * ASSUMED_SEVERITIES["noise"]
        assert moved(told, seen) == pytest.approx([0.0, 0.0, 0.0, 0.0, amount, 0.0, 0.0], abs=1e-4)
        assert told.removal is not None
        assert told.removal[0].tolist() == [0.0, 0.0, 1.0, 0.0, 0.5, 0.0, 1.0]

    def test_of_an_aligned_model_it_is_enough_that_something_is_likely(self) -> None:
        seen = guidance_with({"rain": 0.3, "snow": 0.35})
        assert not seen.reaches(PRESENT)
        aligned = replace(seen, adapter="an adapter")
        assert aligned.reaches(PRESENT)
        assert not aligned.with_removal({"rain": 0.0}).reaches(PRESENT)

    def test_an_order_to_remove_all_that_is_seen_is_what_happens_without_one(self) -> None:
        seen = guidance_with({"snow": 0.7, "low_light": 0.02, "rain": 0.3, "blur": 0.49})
        told = seen.removing_only({"snow": 1.0})
        assert told.removal is not None and told.removal[0].tolist() == [1.0] * 7
        assert torch.equal(told.tone_removal(), seen.tone_removal())

    def test_an_order_on_what_is_seen_keeps_what_else_is_seen(self) -> None:
        told = guidance_with({"snow": 0.7, "rain": 0.45, "noise": PRESENT, "blur": 0.45}).removing_only({"snow": 1.0})
        assert told.removal is not None
        # what changes the tone is acted on from a score of 0.4, and is kept from there; all else where it is present
        assert told.removal[0].tolist() == pytest.approx([1.0, 1.0, 0.5, 1.0, 0.0, 1.0, 1.0])

    def test_an_order_on_what_is_not_seen_keeps_the_tone_whole(self) -> None:
        told = guidance_with({"low_light": 0.02, "rain": 0.2}).removing_only({"snow": 1.0})
        assert told.tone_removal()[0, :2].tolist() == [0.0, 0.0]
        assert told.removal is not None and told.removal[0].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]

    def test_an_order_on_noise_that_is_hardly_seen_sharpens_nothing_unless_told_to(self) -> None:
        for amounts, blur in (({"noise": 1.0}, 0.0), ({"noise": 1.0, "blur": 1.0}, 1.0), ({"rain": 1.0}, 1.0)):
            told = guidance_with({}).removing_only(amounts)
            assert told.removal is not None and told.removal[0, DEGRADATIONS.index("blur")] == blur

    @pytest.mark.parametrize("name", ["haze", "low_light", "rain", "snow"])
    def test_an_order_assumes_no_more_than_is_seen(self, name: str) -> None:
        seen = guidance_with({name: PRESENT})
        assert moved(seen.removing_only({name: 1.0}), seen) == [0.0] * 7

    def test_an_order_assumes_more_noise_than_is_seen_weakly(self) -> None:
        seen = guidance_with({"noise": PRESENT})
        assert moved(seen.removing_only({"noise": 1.0}), seen) != [0.0] * 7

    def test_an_order_leaves_a_severity_that_was_set(self) -> None:
        told = guidance_with({}).with_severities({"noise": 0.1})
        assert moved(told.removing_only({"noise": 1.0}), told) == [0.0] * 7

    def test_an_order_leaves_the_embedding_of_what_is_seen_clearly(self) -> None:
        seen = guidance_with({"noise": 0.9})
        assert moved(seen.removing_only({"noise": 1.0}), seen) == [0.0] * 7

    def test_an_order_without_directions_forces_what_it_names(self) -> None:
        told = make_guidance().removing_only({"rain": 1.0})
        assert told.forced is not None and told.forced[0].tolist() == [name == "rain" for name in DEGRADATIONS]


class TestCertainty:
    """How much of a restoration is taken."""

    def test_it_is_that_of_the_most_certain_of_what_is_to_be_removed(self) -> None:
        seen = guidance_with({"haze": 0.7, "rain": 0.6})
        doubted = replace(seen, certainty=torch.tensor([[0.9, 0.7, 0.55, 0.2, 0.1, 0.1, 0.1]]))
        assert seen.share().tolist() == [1.0]
        assert doubted.share().tolist() == pytest.approx([0.7])
        assert doubted.with_removal({"haze": 0.0}).share().tolist() == pytest.approx([0.55])

    def test_an_order_is_certain_and_so_is_everything_where_nothing_is_seen(self) -> None:
        doubted = replace(guidance_with({"haze": 0.7}), certainty=torch.full((1, 7), 0.6))
        assert doubted.with_severities({"rain": 0.4}).share().tolist() == [1.0]
        assert doubted.removing_only({"haze": 1.0}).share().tolist() == [1.0]
        assert replace(guidance_with({}), certainty=torch.full((1, 7), 0.1)).share().tolist() == [1.0]

    def test_joined_guidance_without_certainty_is_certain(self) -> None:
        doubted = replace(guidance_with({"haze": 0.7}), certainty=torch.full((1, 7), 0.6))
        assert Guidance.join([doubted, guidance_with({"haze": 0.7})]).share().tolist() == pytest.approx([0.6, 1.0])


class TestTheCameraBranch:
    """What the camera branch is told, and what comes after it: strengths of noise, blur and JPEG."""

    def test_it_is_told_the_strength_of_what_is_called_present(self) -> None:
        guidance = guidance_with({"noise": 0.7, "blur": 0.49, "jpeg": PRESENT, "haze": 0.9})
        assert guidance.camera_strengths()[0].tolist() == pytest.approx([0.4, 0.0, 0.02])

    def test_it_is_told_nothing_of_what_is_to_be_kept_and_less_of_what_is_removed_in_part(self) -> None:
        guidance = guidance_with({"noise": 0.9, "jpeg": 0.9}).with_removal({"noise": 0.5, "jpeg": 0.0})
        assert guidance.camera_strengths()[0].tolist() == pytest.approx([0.8, 0.0, 0.0])
        assert guidance.camera_share().tolist() == pytest.approx([0.5])
        both = guidance_with({"noise": 0.9, "jpeg": 0.9, "haze": 0.9}).with_removal({"noise": 0.2, "jpeg": 0.4})
        assert both.camera_strengths()[0].tolist() == pytest.approx([0.4, 0.0, 0.8])
        assert both.camera_share().tolist() == pytest.approx([0.4])

    def test_a_jpeg_counts_as_far_as_it_is_certain_and_noise_whole(self) -> None:
        def share(seen: Guidance) -> float:
            certainty = torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.6, 0.6, 0.7]])
            return float(replace(seen, certainty=certainty).camera_share())

        jpeg = guidance_with({"jpeg": 0.9})
        assert jpeg.camera_share().tolist() == [1.0] and share(jpeg) == pytest.approx(0.7)
        assert share(guidance_with({"jpeg": 0.9, "noise": 0.9})) == share(guidance_with({"blur": 0.9})) == 1.0
        assert share(jpeg.with_removal({"jpeg": 0.5})) == pytest.approx(0.35)
        assert share(jpeg.removing_only({"jpeg": 1.0})) == 1.0, "an order is certain"

    @pytest.mark.parametrize(("quality", "share"), [(60, 1.0), (70, 1.0), (72.5, 0.75), (75, 0.5)])
    def test_a_jpeg_that_can_hardly_be_seen_is_undone_in_part_and_whole_if_ordered(
        self, quality: float, share: float
    ) -> None:
        strength = (100 - quality) / 90
        faint = guidance_with({"jpeg": score_from_strength(strength)})
        assert float(faint.camera_share()) == pytest.approx(share, abs=1e-3)
        assert float(faint.with_severities({"jpeg": strength}).camera_share()) == 1.0
        assert float(faint.removing_only({"jpeg": 1.0}).camera_share()) == 1.0
        noisy = guidance_with({"jpeg": score_from_strength(strength), "noise": 0.6})
        assert float(noisy.camera_share()) == 1.0, "the noise is undone whole"

    def test_it_is_told_what_was_set_and_what_an_order_assumes(self) -> None:
        assert guidance_with({}).with_severities({"blur": 0.3}).camera_strengths()[0, 1] == pytest.approx(0.3)
        assumed = make_guidance().removing_only({"noise": 1.0})  # no directions
        unseen = replace(assumed, scores=torch.zeros_like(assumed.scores))
        for told in (unseen, guidance_with({}).removing_only({"noise": 1.0})):
            assert told.camera_strengths()[0].tolist() == pytest.approx([ASSUMED_SEVERITIES["noise"], 0.0, 0.0])

    def test_what_comes_after_it_sees_its_faults_no_longer(self) -> None:
        rest = guidance_with({"noise": 0.7, "rain": 0.8}).after_camera_branch()
        scores = dict(zip(DEGRADATIONS, rest.scores[0].tolist(), strict=True))
        assert scores["noise"] == 0 and scores["rain"] == pytest.approx(0.8)
        assert rest.severities is not None and rest.severities[0, DEGRADATIONS.index("noise")] == 0
        assert bool(rest.reaches(PRESENT)) and not bool(rest.camera_strengths().any())
        assert not bool(guidance_with({"noise": 0.7}).after_camera_branch().reaches(PRESENT))

    def test_it_undoes_noise_and_jpeg_of_dark_images_and_the_guidance_stays(self) -> None:
        dark = guidance_with({"noise": 0.7, "blur": 0.8, "jpeg": 0.9, "low_light": 0.8})
        assert dark.camera_strengths()[0].tolist() == pytest.approx([0.4, 0.0, 0.8]), "noise would hide a kernel"
        assert dark.after_camera_branch() is dark, "noise tells the others how dark it was made"
        kept = dark.with_removal({"low_light": 0.0})
        assert kept.camera_strengths()[0].tolist() == pytest.approx([0.4, 0.6, 0.8])
        assert not bool(kept.after_camera_branch().camera_strengths().any())

    def test_several_images_come_one_by_one(self) -> None:
        with pytest.raises(GuidanceError, match="is for 2"):
            make_guidance(2).after_camera_branch()

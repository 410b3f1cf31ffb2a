"""Aligning a foreign MLLM: the adapter guides the restorer, and an interrupted run goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mofe_restore.model.align.pictures import _severities, draw_picture, photos_in, read_real
from mofe_restore.model.align.run import (
    Aligned,
    AlignSettings,
    Candidate,
    align,
    choose,
    fit_adapter,
    rank_candidates,
)
from mofe_restore.model.errors import MllmError
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.image_files import read_image
from mofe_restore.model.mllm.adapter import read_adapter, write_adapter
from mofe_restore.model.mllm.sight import PATCH_STATISTICS, STATISTICS, Look, Sight
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.tests.factories import WIDTH, make_restorer, restore, scored_guidance, write_photo

TEACHER, STUDENT = "teacher:0123456789abcdef", "student:fedcba9876543210"
SETTINGS = AlignSettings(pictures=48, trial=16, measured=2)
LOOK = Look(detail=True, layers=(1,))


def traits(image: Tensor) -> Tensor:
    """Sixteen numbers that tell images apart."""
    small = F.adaptive_avg_pool2d(image, 2).flatten()
    return torch.cat([small, image.std((1, 2)), (image[:, 1:] - image[:, :-1]).abs().mean()[None]])


class Teacher:
    identity, device, directions = TEACHER, torch.device("cpu"), None

    def describe(self, images: Tensor, **_: Any) -> Guidance:
        pooled = torch.stack([traits(image) for image in images])
        one = scored_guidance([0.0] * 7)
        return replace(one, pooled=pooled, tokens=pooled[:, None].expand(-1, 3, -1), mllm_identity=TEACHER)


class Student:
    """Sees the traits through a random map, in the second of its layers only, and only with amplified detail."""

    identity, layers, view_sets_worth = STUDENT, (0, 1), 1

    def __init__(self) -> None:
        self.calls = 0
        self.map = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))

    def see(self, image: Tensor, look: Look) -> Sight:
        self.calls += 1
        seen = traits(image) @ self.map
        blind = torch.randn(24, generator=torch.Generator().manual_seed(int(1e6 * float(image.mean()))))
        layers = [seen if layer == 1 and look.detail else blind for layer in look.layers]
        states = torch.stack([layer.expand(len(look.statistics), -1) for layer in layers])
        return Sight(states, torch.zeros(len(look.patches), 3))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(12):
        write_photo(folder / f"{seed:02}.png", seed, 200, 220)
    return list(photos_in(folder))


def run(photos: list[Any], student: Student | None = None, **settings: Any) -> Aligned:
    restorer = make_restorer()
    restorer.mllm_identity = TEACHER
    student, teacher = student or Student(), Teacher()
    return align(student, teacher, restorer, photos, settings.pop("settings", SETTINGS), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def aligned(photos: list[Any]) -> Aligned:
    return run(photos)


def test_views_and_layer_are_those_that_tell_most(aligned: Aligned) -> None:
    assert aligned.adapter.look.detail
    assert aligned.adapter.look.layers == (1,)


def test_the_adapter_leads_to_the_guidance_of_the_other_mllm(aligned: Aligned, photos: list[Any]) -> None:
    image = draw_picture(photos, 5000, 1).image
    given = aligned.adapter.guidance(Student().see(image, aligned.adapter.look))
    wanted = Teacher().describe(image[None])
    assert given.mllm_identity == TEACHER and given.pooled.shape == (1, WIDTH)
    assert F.cosine_similarity(given.pooled, wanted.pooled).item() > 0.98
    assert given.tokens.shape == wanted.tokens.shape
    assert bool(given.parameters.isfinite().all())
    restorer = make_restorer()
    restorer.mllm_identity = TEACHER
    assert restore(restorer, image[None, :, :64, :64], given).image.isfinite().all()


def test_the_card_says_what_was_measured(aligned: Aligned) -> None:
    card = aligned.card
    assert card.architecture["source"] == STUDENT and card.mllm_identity == TEACHER
    assert 0 <= card.metrics["pooled_error"] < 0.2 and 0 <= card.metrics["f1"] <= 1
    assert set(card.metrics["psnr"]) == {"none", "aligned", "own"}
    assert card.training["pictures"] == 48 and card.training["photos"] == 12


def test_it_survives_its_file(aligned: Aligned, tmp_path: Path, photos: list[Any]) -> None:
    path = tmp_path / "adapter.safetensors"
    write_adapter(path, aligned.adapter, aligned.card)
    adapter, card = read_adapter(path)
    assert card == aligned.card and adapter.look == aligned.adapter.look and adapter.identity
    seen = Student().see(draw_picture(photos, 3, 0).image, adapter.look)
    first, second = adapter.guidance(seen), aligned.adapter.guidance(seen)
    assert torch.allclose(first.pooled, second.pooled, atol=0.01, rtol=0.02)
    assert first.adapter == adapter.identity


def test_an_interrupted_run_goes_on_where_it_was(aligned: Aligned, photos: list[Any], tmp_path: Path) -> None:
    class CancelledError(BaseException):
        pass

    shown: list[tuple[int, int]] = []

    def cancel_late(done: int, total: int) -> None:
        shown.append((done, total))
        if len(shown) == 120:
            raise CancelledError

    student = Student()
    with pytest.raises(CancelledError):
        run(photos, student, keep=tmp_path / "work", on_progress=cancel_late)
    before = student.calls
    again = run(photos, student, keep=tmp_path / "work", on_progress=lambda done, total: shown.append((done, total)))
    fresh = Student()
    run(photos, fresh)
    assert student.calls < before + fresh.calls - 16, "what was embedded is not embedded again"
    assert torch.allclose(again.adapter.pooled, aligned.adapter.pooled, atol=1e-3)
    assert all(0 <= done <= total for done, total in shown)
    left = {path.name.split("-")[0] for path in (tmp_path / "work").iterdir()}
    assert left == {"teacher"}, "what the foreign model saw is not needed any more"


def test_real_photographs_are_looked_at_as_they_are(photos: list[Any], tmp_path: Path) -> None:
    for seed in range(3):
        write_photo(tmp_path / f"real{seed}.png", 100 + seed, 120, 100)
    real = photos_in(tmp_path)
    looked: list[Tensor] = []

    class Watching(Student):
        def see(self, image: Tensor, look: Look) -> Sight:
            looked.append(image)
            return super().see(image, look)

    aligned = run(photos, Watching(), real=real)
    for path in real:
        image = read_image(path).rgb[0]
        assert any(seen.shape == image.shape and torch.equal(seen, image) for seen in looked)
    assert aligned.card.training["real"] == 3 and "and 3 real ones" in aligned.card.data
    assert not read_real(real[0], 99).known


def test_of_real_photographs_only_the_embedding_is_fitted(photos: list[Any]) -> None:
    """A presence of zero, which stands for not known, would teach the scores that nothing is there."""
    pictures = [draw_picture(photos, index, 0) for index in range(32)]
    states = torch.stack([Student().see(each.image, LOOK).states for each in pictures])
    seen = {"states": states, "patches": torch.zeros(32, 0, 0)}
    names = ("presence", "strength", "parameters")
    truth = {name: torch.stack([getattr(each, name) for each in pictures]) for name in names}
    given = [Teacher().describe(each.image[None]) for each in pictures]
    truth |= {
        "pooled": torch.cat([each.pooled for each in given]),
        "tokens": torch.cat([each.tokens for each in given]),
    }
    truth |= {"photo": torch.tensor([each.photo for each in pictures]), "known": torch.ones(32, dtype=torch.bool)}
    truth["known"][1::2] = False
    fits = []
    for value in (0.0, 1.0):
        for name in names:
            truth[name][1::2] = value
        fits.append(fit_adapter(STUDENT, Teacher(), LOOK, LOOK, seen, truth).adapter)  # type: ignore[arg-type]
    assert torch.equal(fits[0].reading, fits[1].reading) and torch.equal(fits[0].reading_mean, fits[1].reading_mean)
    truth["pooled"][1::2] *= 2
    assert not torch.equal(fit_adapter(STUDENT, Teacher(), LOOK, LOOK, seen, truth).adapter.pooled, fits[0].pooled)  # type: ignore[arg-type]


def test_embeddings_of_other_photographs_of_the_same_names_are_not_taken(photos: list[Any], tmp_path: Path) -> None:
    student = Student()
    run([torch.rand(3, 200, 210, generator=torch.Generator().manual_seed(1))], student, keep=tmp_path)
    first = {path.name for path in tmp_path.iterdir()}
    run([torch.rand(3, 200, 210, generator=torch.Generator().manual_seed(2))], student, keep=tmp_path)
    assert len({path.name for path in tmp_path.iterdir()} - first) == len(first)


def test_a_restorer_of_another_mllm_and_its_own_mllm_are_refused(photos: list[Any]) -> None:
    student = Student()
    with pytest.raises(MllmError, match="was trained with the MLLM mllm-x"):
        restorer = make_restorer()
        restorer.mllm_identity = "mllm-x"
        align(student, Teacher(), restorer, photos, SETTINGS)  # type: ignore[arg-type]
    student.identity = TEACHER  # type: ignore[misc]
    with pytest.raises(MllmError, match="no need to align"):
        run(photos, student)


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(MllmError, match="At least 16 pictures"):
        AlignSettings(pictures=3)


def test_of_two_that_are_as_good_the_one_that_reads_less_is_taken() -> None:
    small, large, bad = (Candidate(Look(layers=(n,)), e, f) for n, e, f in ((0, 0.1005, 10), (1, 0.1, 90), (2, 0.2, 1)))
    assert choose([large, bad, small]) is small


def test_pictures_are_the_same_every_time_and_differ_from_each_other(photos: list[Any]) -> None:
    first, again, other = draw_picture(photos, 4, 0), draw_picture(photos, 4, 0), draw_picture(photos, 4, 1)
    assert torch.equal(first.image, again.image)
    assert first.image.shape != other.image.shape or not torch.equal(first.image, other.image)
    assert first.photo == 4 and first.image.shape == first.clean.shape


def test_no_degradation_is_rare_among_the_pictures() -> None:
    """Of twenty images with JPEG among four hundred, the fit learned nothing."""
    drawn = [_severities(np.random.default_rng(number)) for number in range(400)]
    blurred = np.mean([s.defocus_radius + s.gaussian_sigma + s.motion_length > 0 for s in drawn])
    assert 0.15 < blurred < 0.4 and 0.15 < np.mean([s.jpeg_quality < 100 for s in drawn]) < 0.4
    assert np.mean([s.rain > 0 for s in drawn]) > 0.15 and np.mean([s.snow > 0 for s in drawn]) > 0.15
    assert np.mean([s == Severities() for s in drawn]) > 0.05, "and some are clean"


def test_without_a_folder_the_bundled_photographs_serve() -> None:
    names = [path.name for path in photos_in(None) if isinstance(path, Path)]
    assert "chelsea.jpg" in names and "waiting_room.jpg" not in names
    with pytest.raises(MllmError, match="no folder"):
        photos_in(Path("nowhere"))


def test_all_statistics_are_offered(aligned: Aligned) -> None:
    tried = {tuple(name for name in row if isinstance(name, str)) for row in aligned.card.training["candidates"]}
    assert {STATISTICS, ("last",), ("last", "patches' texture")} <= tried
    assert not aligned.adapter.look.patches, "they say nothing here"


def test_patches_are_read_where_they_tell_what_is_there_and_the_embedding_does_not() -> None:
    """As with JPEG: rare, so that the embedding's mean error does not show it."""
    generator = torch.Generator().manual_seed(0)
    presence = (torch.rand(60, 7, generator=generator) < 0.3).float()
    pooled = torch.randn(60, 16, generator=generator)
    patches = torch.randn(60, len(PATCH_STATISTICS), 7, generator=generator)
    patches[:, PATCH_STATISTICS.index("texture")] = presence
    seen = {"states": pooled[:, None, None].clone(), "patches": patches}
    truth = {
        "pooled": pooled,
        "presence": presence,
        "photo": torch.arange(60),
        "known": torch.ones(60, dtype=torch.bool),
    }
    best = choose(list(rank_candidates(Look(layers=(1,), patches=PATCH_STATISTICS), wide(seen), truth)))
    assert best.look.patches == ("texture",) and best.look.statistics == ("last",)
    assert best.features == 16 + 7


def wide(seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same states under every statistic's name."""
    return {**seen, "states": seen["states"].expand(-1, -1, len(STATISTICS), -1)}

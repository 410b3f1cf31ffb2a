"""The public pipeline: load the models, describe images, restore them and save the result."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mofe_restore.model import pipeline
from mofe_restore.model.errors import GuidanceError, ImageFileError, MllmError, RestorationError, WeightFileError
from mofe_restore.model.image_files import ImageFile, read_image
from mofe_restore.model.mllm.adapter import KIND, SOURCE
from mofe_restore.model.mllm.loading import HEAD_FILE, SECOND_LOOK_FILE, identity_of
from mofe_restore.model.pipeline import RestorationPipeline, best_device, restore
from mofe_restore.model.precision import native_dtype
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.model.weights import Card, write_weights
from mofe_restore.tests import factories
from mofe_restore.tests.factories import MLLM_WIDTH, write_restorer


@pytest.fixture(scope="module")
def restorer_file(tiny_mllm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer that was trained with the tiny MLLM."""
    path = tmp_path_factory.mktemp("restorer") / "model.safetensors"
    return write_restorer(path, MLLM_WIDTH, identity_of(tiny_mllm_folder))


@pytest.fixture(scope="module")
def pipe(restorer_file: Path, tiny_mllm_folder: Path) -> RestorationPipeline:
    return RestorationPipeline.from_pretrained(restorer_file, tiny_mllm_folder, device="cpu", precision="fp32")


@pytest.fixture
def unguided(restorer_file: Path, tmp_path: Path) -> RestorationPipeline:
    """A pipeline whose MLLM cannot be loaded."""
    return RestorationPipeline.from_pretrained(restorer_file, tmp_path / "no-mllm", device="cpu", precision="fp32")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A JPEG file, taken upright, with a color profile and EXIF data."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    exif[0x010F] = "a camera"
    pixels = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(path, exif=exif, icc_profile=b"a profile")
    return path


def random_image(batch: int = 1, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, channels, 40, 52, generator=torch.Generator().manual_seed(5))


class TestLoading:
    def test_models_come_from_the_given_files(
        self, pipe: RestorationPipeline, restorer_file: Path, tiny_mllm_folder: Path
    ) -> None:
        assert not pipe.restorer.training and pipe.restorer.config == factories.restorer_config(MLLM_WIDTH)
        assert pipe.card.name == "tiny" and pipe.card.mllm_identity == identity_of(tiny_mllm_folder)
        assert pipe.mllm.identity == identity_of(tiny_mllm_folder)
        assert pipe.restorer is pipe.restorer and pipe.mllm is pipe.mllm, "each is loaded once"

    def test_nothing_is_loaded_before_it_is_needed(self, tmp_path: Path) -> None:
        empty = RestorationPipeline.from_pretrained(tmp_path / "no.safetensors", str(tmp_path / "no-mllm"))
        with pytest.raises(WeightFileError, match=r"no\.safetensors does not exist"):
            empty(random_image(), None)
        with pytest.raises(WeightFileError, match=r"no\.safetensors"):
            _ = empty.card
        with pytest.raises(MllmError, match="no-mllm"):
            empty.describe(random_image())

    def test_device_and_precision_are_chosen_by_the_hardware_or_by_name(self) -> None:
        automatic = RestorationPipeline.from_pretrained()
        assert automatic.device == best_device() and automatic.dtype == native_dtype(automatic.device)
        chosen = RestorationPipeline.from_pretrained(device=torch.device("cpu"), precision="bf16")
        assert chosen.device.type == "cpu" and chosen.dtype == torch.bfloat16

    def test_an_unknown_precision_is_refused_at_once(self) -> None:
        with pytest.raises(ValueError, match="Precision 'fp8' is not known"):
            RestorationPipeline.from_pretrained(precision="fp8")  # type: ignore[arg-type]


class TestDescribe:
    def test_guidance_has_words_scores_and_an_embedding_per_image(self, pipe: RestorationPipeline) -> None:
        guidance = pipe.describe(random_image(2))
        assert len(guidance) == 2 and guidance.mllm_identity == pipe.mllm.identity
        assert guidance.scores.shape == (2, len(DEGRADATIONS)) and guidance.pooled.shape == (2, MLLM_WIDTH)
        assert all(guidance.descriptions) and guidance.removal is None

    def test_without_text_the_descriptions_are_empty_and_the_scores_the_same(self, pipe: RestorationPipeline) -> None:
        image = random_image()
        quiet = pipe.describe(image, with_text=False)
        assert quiet.descriptions == ("",)
        assert torch.equal(quiet.scores, pipe.describe(image).scores)

    def test_the_restorer_helps_with_a_second_look(
        self, tiny_mllm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file, network = tmp_path / "camera.safetensors", factories.make_restorer(MLLM_WIDTH, with_camera=True)
        card = factories.make_card(MLLM_WIDTH, identity_of(tiny_mllm_folder))
        write_weights(file, network.state_dict(), replace(card, architecture=network.config.to_dict()))
        pipe = RestorationPipeline.from_pretrained(file, tiny_mllm_folder, device="cpu", precision="fp32")
        given: list[object] = []
        monkeypatch.setattr(pipe.mllm, "describe", lambda image, **settings: given.append(settings["helper"]))
        pipe.describe(random_image())
        monkeypatch.setattr(pipe.mllm.network, "second_look", None)
        pipe.describe(random_image())
        assert given == [pipe.restorer, None]

    def test_without_a_restorer_it_looks_once(self, tiny_mllm_folder: Path, tmp_path: Path) -> None:
        pipe = RestorationPipeline.from_pretrained(tmp_path / "no.safetensors", tiny_mllm_folder, device="cpu")
        assert len(pipe.describe(random_image())) == 1

    def test_an_instruction_says_what_to_remove(self, pipe: RestorationPipeline) -> None:
        removal = pipe.describe(random_image(), instruction="keep the haze").removal
        assert removal is not None
        assert removal[0].tolist() == [float(name != "haze") for name in DEGRADATIONS]

    def test_grey_alpha_and_image_files_are_seen_as_their_colors(self, pipe: RestorationPipeline) -> None:
        grey, rgba = random_image(channels=1), random_image(channels=4)
        for image, rgb in (
            (grey, grey.expand(-1, 3, -1, -1)),
            (rgba, rgba[:, :3]),
            (ImageFile(rgba), rgba[:, :3]),
        ):
            assert torch.equal(pipe.describe(image).pooled, pipe.describe(rgb).pooled)


class TestRestore:
    def test_images_are_described_first_unless_guidance_is_given(self, pipe: RestorationPipeline) -> None:
        image = random_image(2)
        before = image.clone()
        result = pipe(image)
        assert result.image.shape == image.shape and torch.equal(image, before)
        assert torch.equal(result.image, pipe(image, pipe.describe(image)).image)
        assert len(result.routing) == 2 and result.routing.scores[1] is not None
        assert not torch.equal(result.image, image)

    def test_without_guidance_no_mllm_is_loaded(self, pipe: RestorationPipeline, unguided: RestorationPipeline) -> None:
        image = random_image()
        result = unguided(image, None)
        assert result.routing.scores == (None,)
        assert torch.equal(result.image, pipe(image, None).image)
        assert not torch.equal(result.image, pipe(image).image)

    def test_guidance_may_be_steered(self, pipe: RestorationPipeline) -> None:
        image = random_image()
        guidance = pipe.describe(image)
        kept = pipe(image, guidance.with_removal(dict.fromkeys(DEGRADATIONS, 0.0))).image
        assert not torch.equal(kept, pipe(image, guidance).image)

    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("guidance", ["auto", None])
    def test_strength_zero_returns_the_input_bit_by_bit(
        self, pipe: RestorationPipeline, channels: int, guidance: str | None
    ) -> None:
        image = random_image(channels=channels)
        assert torch.equal(pipe(image, guidance, strength=0).image, image)

    def test_mask_tile_and_progress_are_passed_on(self, unguided: RestorationPipeline) -> None:
        image, mask = torch.rand(1, 3, 150, 100), torch.zeros(1, 150, 100)
        mask[:, :130] = 1
        progress: list[tuple[int, int]] = []
        result = unguided(image, None, mask=mask, tile=64, on_tile=lambda done, total: progress.append((done, total)))
        assert progress[-1] == (6, 6) and len(progress) == 6
        assert torch.equal(result.image[..., 130:, :], image[..., 130:, :])
        assert not torch.equal(result.image[..., :130, :], image[..., :130, :])

    def test_an_image_file_is_restored_as_its_pixels_are(self, pipe: RestorationPipeline, photo: Path) -> None:
        source = read_image(photo)
        result = pipe(source)
        assert result.source is source
        plain = pipe(source.pixels)
        assert plain.source is None and torch.equal(plain.image, result.image)

    def test_bf16_stays_close_to_fp32(self, unguided: RestorationPipeline, restorer_file: Path) -> None:
        image = random_image()
        half = RestorationPipeline.from_pretrained(restorer_file, device="cpu", precision="bf16")
        assert (half(image, None).image - unguided(image, None).image).abs().mean() < 0.02

    def test_guidance_of_another_mllm_is_refused(self, pipe: RestorationPipeline, tmp_path: Path) -> None:
        image, other = random_image(), write_restorer(tmp_path / "other.safetensors", MLLM_WIDTH, "another:4567")
        mismatched = RestorationPipeline.from_pretrained(other, tmp_path / "no-mllm", device="cpu", precision="fp32")
        with pytest.raises(GuidanceError, match=r"comes from the MLLM .* trained with another:4567"):
            mismatched(image, pipe.describe(image))
        foreign = factories.make_guidance(width=MLLM_WIDTH, identity="another:4567")
        assert mismatched(image, foreign).image.isfinite().all()
        with pytest.raises(GuidanceError, match="comes from the MLLM another:4567"):
            pipe(image, foreign)

    @pytest.mark.parametrize("guidance", ["auto", None])
    @pytest.mark.parametrize(
        "image",
        [torch.rand(3, 40, 52), torch.zeros(1, 3, 40, 52, dtype=torch.uint8), torch.full((1, 3, 40, 52), torch.nan)],
    )
    def test_an_image_of_another_form_is_refused_in_words(
        self, pipe: RestorationPipeline, image: torch.Tensor, guidance: str | None
    ) -> None:
        with pytest.raises(RestorationError, match="dimensions|floating-point|not finite"):
            pipe(image, guidance)


class TestFingerprint:
    @pytest.fixture
    def files(self, restorer_file: Path, tiny_mllm_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
        """Copies of a restorer and an MLLM."""
        folder = shutil.copytree(tiny_mllm_folder, tmp_path / "mllm")
        return Path(shutil.copy(restorer_file, tmp_path / "model.safetensors")), folder

    @staticmethod
    def fingerprint(restorer: Path, mllm: Path, **settings: Any) -> str:
        """That of a new pipeline."""
        guided = settings.pop("guided", True)
        settings = {"device": "cpu", "precision": "fp32"} | settings
        return RestorationPipeline.from_pretrained(restorer, mllm, **settings).fingerprint(guided=guided)

    def test_it_tells_the_content_of_files_and_not_their_places(
        self, files: tuple[Path, Path], restorer_file: Path, tiny_mllm_folder: Path, tmp_path: Path
    ) -> None:
        config = json.loads((tiny_mllm_folder / "config.json").read_text(encoding="utf-8"))
        if "mofe_name" in config:  # else the identity has the folder's name
            assert self.fingerprint(*files) == self.fingerprint(restorer_file, tiny_mllm_folder)
        elsewhere = shutil.copy(files[0], tmp_path / "other.safetensors")
        assert self.fingerprint(elsewhere, files[1]) == self.fingerprint(*files)

    @pytest.mark.parametrize("name", ["model.safetensors", HEAD_FILE, SECOND_LOOK_FILE])
    def test_it_changes_with_all_that_guides(self, name: str, files: tuple[Path, Path]) -> None:
        before, alone = (self.fingerprint(*files, guided=guided) for guided in (True, False))
        with (files[1] / name).open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x7f")
        assert self.fingerprint(*files) != before and self.fingerprint(*files, guided=False) == alone

    def test_it_changes_with_the_restorer_and_the_precision(self, files: tuple[Path, Path]) -> None:
        before = self.fingerprint(*files, guided=False)
        assert self.fingerprint(*files, guided=False, precision="bf16") != before
        network = factories.make_restorer(MLLM_WIDTH)
        state = {key: value * 0.5 for key, value in network.state_dict().items()}
        write_weights(files[0], state, factories.make_card(MLLM_WIDTH, identity_of(files[1])), torch.float32)
        assert self.fingerprint(*files, guided=False) != before

    def test_it_changes_with_the_adapter(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        write_restorer(files[0], MLLM_WIDTH, "another:00")
        adapters = tmp_path / "adapters"
        settings = {"adapters": adapters}
        found = [self.fingerprint(*files, **settings)]
        architecture = {SOURCE: identity_of(files[1])}
        card = Card(KIND, "tiny", "1", architecture, {}, {}, "", "", "", "another:00")
        for value in (0.0, 1.0):
            write_weights(adapters / "a.safetensors", {"mean": torch.full((4,), value)}, card)
            found.append(self.fingerprint(*files, **settings))
        assert len(set(found)) == 3 and self.fingerprint(*files) == found[0]

    def test_files_that_cannot_be_used_cost_one_sentence(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        with pytest.raises(WeightFileError, match="does not exist"):
            self.fingerprint(tmp_path / "missing.safetensors", files[1])
        with pytest.raises(MllmError, match="no MLLM folder"):
            self.fingerprint(files[0], tmp_path / "missing")
        (files[1] / "tokenizer.json").write_text("{")
        with pytest.raises(MllmError, match="cannot be read"):
            self.fingerprint(*files)


class TestSave:
    def test_the_file_keeps_the_color_profile_and_the_exif_data(
        self, pipe: RestorationPipeline, photo: Path, tmp_path: Path
    ) -> None:
        result = pipe(read_image(photo))
        result.save(tmp_path / "restored.png")
        with Image.open(tmp_path / "restored.png") as saved:
            assert saved.format == "PNG" and saved.size == (40, 52)  # turned upright
            assert saved.info["icc_profile"] == b"a profile"
            assert dict(saved.getexif()) == {0x010F: "a camera"}
            pixels = torch.from_numpy(np.array(saved)).permute(2, 0, 1)[None]
        assert torch.equal(pixels, (result.image * 255).round().to(torch.uint8))

    def test_a_tensor_has_nothing_to_keep(self, unguided: RestorationPipeline, tmp_path: Path) -> None:
        unguided(random_image(channels=4), None).save(str(tmp_path / "restored.png"))
        with Image.open(tmp_path / "restored.png") as saved:
            assert saved.mode == "RGBA" and "icc_profile" not in saved.info and not saved.getexif()

    def test_several_images_do_not_fit_into_one_file(self, unguided: RestorationPipeline, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="batch of 2 images"):
            unguided(random_image(2), None).save(tmp_path / "restored.png")
        assert not list(tmp_path.iterdir())


class TestRestoreInOneCall:
    @pytest.fixture(autouse=True)
    def tiny_models(self, restorer_file: Path, tiny_mllm_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The tiny models in the place of the shipped ones."""
        monkeypatch.setattr(pipeline, "SHIPPED_RESTORER", restorer_file)
        monkeypatch.setattr(pipeline, "SHIPPED_MLLM", tiny_mllm_folder)

    def test_paths_files_and_tensors_are_restored_alike(self, photo: Path) -> None:
        source = read_image(photo)
        expected = RestorationPipeline.from_pretrained()(source).image
        for image in (photo, str(photo), source, source.pixels):
            assert torch.equal(restore(image).image, expected)

    def test_the_description_and_the_metadata_come_with_the_result(self, photo: Path, tmp_path: Path) -> None:
        result = restore(photo)
        assert result.routing.descriptions[0]
        result.save(tmp_path / "restored.png")
        with Image.open(tmp_path / "restored.png") as saved:
            assert saved.info["icc_profile"] == b"a profile"

    def test_instruction_and_strength_are_obeyed(self, photo: Path) -> None:
        source = read_image(photo)
        assert torch.equal(restore(source, strength=0).image, source.pixels)
        assert not torch.equal(restore(source, instruction="keep everything").image, restore(source).image)

    def test_a_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ImageFileError, match=r"missing\.jpg"):
            restore(tmp_path / "missing.jpg")

"""`mofe restore`: what it writes, and that bad input costs one sentence and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mofe_restore.model.mllm.loading import identity_of
from mofe_restore.model.pipeline import RestorationPipeline
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.cli.calls import load, noise, run, save, sentence
from mofe_restore.tests.factories import IDENTITY, FakeMllm, write_restorer


def test_restore_writes_a_png_of_the_same_size(photo: Path, restorer: Path, tmp_path: Path) -> None:
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer) == 0
    restored = load(tmp_path / "out" / "photo.png")
    assert restored.shape == (40, 50, 3)
    assert (restored != load(photo)).any()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.png"]


def test_restore_reports_descriptions_scores_and_routing(photo: Path, restorer: Path, tmp_path: Path) -> None:
    report = tmp_path / "new" / "report.json"
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--json", report) == 0
    (entry,) = json.loads(report.read_text())
    assert entry["file"] == str(photo) and entry["description"] == "Strong low light."
    assert tuple(entry["scores"]) == DEGRADATIONS
    assert entry["routing"]
    for block in entry["routing"]:
        assert sum(block["weights"]) == pytest.approx(1, abs=1e-3)
        assert len(block["edges"]) == len(block["weights"]) - 1


def test_restore_without_guidance_needs_no_language_model(
    photo: Path, restorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        RestorationPipeline, "mllm", property(lambda self: pytest.fail("the language model was loaded"))
    )
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--no-guidance") == 0


@pytest.mark.parametrize(("channels", "kind"), [(1, np.uint8), (1, np.uint16), (3, np.uint8), (4, np.uint8)])
def test_strength_zero_gives_the_input_in_its_own_form(
    channels: int, kind: Any, restorer: Path, tmp_path: Path
) -> None:
    path = save(tmp_path / "in.png", noise(20, 30, channels, kind))
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer, "--strength", 0) == 0
    restored = load(tmp_path / "out" / "in.png")
    assert restored.dtype == load(path).dtype
    assert np.array_equal(restored, load(path))


def test_alpha_is_kept(restorer: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "in.png", noise(20, 30, 4))
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
    restored = load(tmp_path / "out" / "in.png")
    assert np.array_equal(restored[..., 3], load(path)[..., 3])
    assert (restored[..., :3] != load(path)[..., :3]).any()


def test_exif_orientation_is_applied(restorer: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    path = save(tmp_path / "in.jpg", noise(20, 30, 3), exif=exif)
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
    assert load(tmp_path / "out" / "in.png").shape == (30, 20, 3)


def test_color_profile_is_kept(restorer: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "in.png", noise(20, 30, 3), icc_profile=b"a profile")
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
    with Image.open(tmp_path / "out" / "in.png") as image:
        assert image.info["icc_profile"] == b"a profile"


def test_what_a_file_says_of_the_image_is_kept(restorer: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    exif[0x0132] = "1969:07:21 02:56:15"
    exif[0x8769] = {0x829A: 0.004, 0x927C: b"a note for the maker", 0xA002: 30}
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    path = save(tmp_path / "in.jpg", noise(20, 30, 3), exif=exif, dpi=(300, 300))
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
    with Image.open(tmp_path / "out" / "in.png") as image:
        kept = image.getexif()
        assert {tag: kept[tag] for tag in kept if tag < 0x8000} == {0x010F: "a camera", 0x0132: "1969:07:21 02:56:15"}
        assert {tag: float(value) for tag, value in kept.get_ifd(0x8769).items()} == {0x829A: 0.004}
        assert kept.get_ifd(0x8825) == {1: "N", 2: (52.0, 31.0, 12.0)}
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("turned", [1, 6])
@pytest.mark.parametrize("name", ["in.tif", "in.webp", "in.png"])
def test_names_keep_their_letters_in_files_of_every_kind(
    restorer: Path, tmp_path: Path, name: str, turned: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turned
    exif[0x013B] = "J\u00fcrgen M\u00fcller".encode()
    exif[0x8298] = "\u00a9 2020 Jos\u00e9".encode()
    path = save(tmp_path / name, noise(20, 30, 3), exif=exif)
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
    with Image.open(tmp_path / "out" / "in.png") as image:
        kept = image.getexif()
        assert image.size == ((30, 20) if turned == 1 else (20, 30))
        assert [kept[tag].encode("latin-1").decode() for tag in (0x013B, 0x8298)] == [
            "J\u00fcrgen M\u00fcller",
            "\u00a9 2020 Jos\u00e9",
        ]


def test_the_preview_in_a_raw_file_is_not_restored(
    restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.nef"
    Image.fromarray(noise(20, 30, 3)).save(path, "TIFF", tiffinfo={254: 1})
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 1
    assert "raw file" in sentence(capsys)


def test_grey_of_16_bits_keeps_its_color_profile(restorer: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "in.png", noise(20, 30, 1).astype(np.uint16), icc_profile=b"a profile")
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
    with Image.open(tmp_path / "out" / "in.png") as image:
        assert image.info["icc_profile"] == b"a profile"


def test_damaged_exif_data_are_left_out_and_the_image_is_restored(restorer: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "in.png", noise(20, 30, 3), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01")
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
    with Image.open(tmp_path / "out" / "in.png") as image:
        assert not image.getexif()


def test_pixels_outside_the_mask_are_untouched(photo: Path, restorer: Path, tmp_path: Path) -> None:
    mask = np.zeros((40, 50), np.uint8)
    mask[:, 25:] = 255
    path = save(tmp_path / "mask.png", mask)
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--mask", path) == 0
    restored = load(tmp_path / "out" / "photo.png")
    assert np.array_equal(restored[:, :25], load(photo)[:, :25])
    assert (restored[:, 25:] != load(photo)[:, 25:]).any()


def test_tiles_change_nothing(restorer: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "in.png", noise(150, 200, 3))
    for tile in (0, 64):
        where = tmp_path / str(tile)
        assert run("restore", path, "-o", where, "--restorer", restorer, "--tile", tile, "--precision", "fp32") == 0
    whole, tiled = (load(tmp_path / str(tile) / "in.png").astype(int) for tile in (0, 64))
    assert np.abs(whole - tiled).max() <= 1  # a value that lies on the border between two bytes


def test_equal_stems_are_refused_before_any_work(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save(tmp_path / "other" / "photo.jpg", noise(20, 20, 3))
    assert run("restore", photo, other, "-o", tmp_path / "out", "--restorer", restorer) == 1
    assert "would both become" in sentence(capsys)
    assert not (tmp_path / "out").exists()


def test_input_is_never_overwritten(photo: Path, restorer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = photo.read_bytes()
    assert run("restore", photo, "-o", photo.parent, "--restorer", restorer) == 1
    assert "overwritten" in sentence(capsys)
    assert photo.read_bytes() == before


def test_the_mask_and_other_names_of_an_input_are_never_overwritten(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = save(tmp_path / "masks" / "photo.png", noise(40, 50, 1))
    before = mask.read_bytes()
    assert run("restore", photo, "--mask", mask, "-o", mask.parent, "--restorer", restorer) == 1
    assert "overwritten" in sentence(capsys) and mask.read_bytes() == before
    other = tmp_path / "links" / "photo.png"
    other.parent.mkdir()
    other.hardlink_to(photo)  # as a name in other cases is on some disks
    assert run("restore", photo, "-o", other.parent, "--restorer", restorer) == 1
    assert "overwritten" in sentence(capsys)


def test_what_lies_beside_the_originals_is_never_overwritten(
    restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = save(tmp_path / "holiday.jpg", noise(40, 50, 3))
    other = save(tmp_path / "holiday.png", noise(20, 20, 3))
    before = other.read_bytes()
    assert run("restore", photo, "-o", tmp_path, "--restorer", restorer) == 1
    assert "beside the images to restore" in sentence(capsys)
    assert other.read_bytes() == before
    for _ in range(2):
        assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer) == 0


def test_a_report_never_takes_the_place_of_an_image(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save(tmp_path / "other.jpg", noise(40, 50, 3))
    before = other.read_bytes()
    for report in (other, photo, tmp_path / "out" / "photo.png"):
        assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--json", report) == 1
        assert "--json" in sentence(capsys)
    assert run("describe", "--json", other, photo) == 1 and "--json" in sentence(capsys)
    assert other.read_bytes() == before and not (tmp_path / "out").exists()


def test_a_black_mask_costs_one_sentence(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = save(tmp_path / "mask.png", np.zeros((40, 50), np.uint8))
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--mask", mask) == 1
    assert "paint white" in sentence(capsys)


def test_what_is_no_image_does_not_stop_its_neighbor_of_the_same_name(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = photo.with_suffix(".xmp")
    notes.write_text("notes")
    assert run("restore", photo, notes, "-o", tmp_path / "out", "--restorer", restorer) == 1
    assert "photo.xmp" in sentence(capsys) and (tmp_path / "out" / "photo.png").exists()


def test_an_output_that_looks_like_an_image_costs_one_sentence(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("restore", photo, "-o", tmp_path / "result.png", "--restorer", restorer) == 1
    assert "folder" in sentence(capsys) and not (tmp_path / "result.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_report_holds_names_that_are_no_text(photo: Path, restorer: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xe9.png"))
    odd.write_bytes(photo.read_bytes())
    report = tmp_path / "report.json"
    assert run("restore", odd, "-o", tmp_path / "out", "--restorer", restorer, "--json", report) == 0
    assert "b\udce9.png" in json.loads(report.read_text())[0]["file"]


def test_mask_of_another_size_costs_one_sentence(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = save(tmp_path / "mask.png", noise(40, 40, 1))
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--mask", mask) == 1
    assert "same size" in sentence(capsys)


def test_output_that_is_a_file_costs_one_sentence(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").touch()
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer) == 1
    assert "out" in sentence(capsys)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut"])
def test_bad_weights_cost_one_sentence(
    kind: str, photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.safetensors"
    content = {"empty": b"", "text": b"these are no weights at all", "cut": restorer.read_bytes()[:-100]}
    if kind != "missing":
        path.write_bytes(content[kind])
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", path) == 1
    assert str(path) in sentence(capsys)
    assert list((tmp_path / "out").iterdir()) == []


def test_foreign_language_model_costs_one_sentence(
    photo: Path,
    restorer: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FakeMllm, "identity", "another:4567")
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer) == 1
    assert "another:4567" in sentence(capsys)


@pytest.mark.usefixtures("real_mllm")
def test_folder_without_language_model_costs_one_sentence(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--mllm", tmp_path) == 1
    assert str(tmp_path) in sentence(capsys)


@pytest.mark.usefixtures("real_mllm")
def test_chain_of_real_networks_restores(photo: Path, tiny_mllm_folder: Path, tmp_path: Path) -> None:
    path = write_restorer(tmp_path / "own.safetensors", 64, identity_of(tiny_mllm_folder))
    words = ("-o", tmp_path / "out", "--restorer", path, "--mllm", tiny_mllm_folder, "--json", tmp_path / "seen.json")
    assert run("restore", photo, *words) == 0
    assert load(tmp_path / "out" / "photo.png").shape == (40, 50, 3)
    (entry,) = json.loads((tmp_path / "seen.json").read_text())
    assert isinstance(entry["description"], str) and len(entry["scores"]) == 7


@pytest.mark.usefixtures("real_mllm")
def test_restorer_of_another_language_model_is_refused(
    photo: Path, tiny_mllm_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_restorer(tmp_path / "other.safetensors", 64, IDENTITY)
    words = ("-o", tmp_path / "out", "--restorer", path, "--mllm", tiny_mllm_folder)
    assert run("restore", photo, *words) == 1
    assert IDENTITY in sentence(capsys)


def test_what_is_to_be_kept_or_removed_steers_the_restoration(photo: Path, restorer: Path, tmp_path: Path) -> None:
    def restore(*wishes: str) -> Any:
        assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, *wishes) == 0
        return load(tmp_path / "out" / "photo.png")

    assert (restore("--keep", "haze") == restore("--remove", "low-light,rain,snow,noise,blur,jpeg")).all()
    assert (restore("--keep", "haze") != restore()).any()
    assert (restore("--remove", ",".join(DEGRADATIONS)) == restore()).all()


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (("--keep", "fog"), "not a list of low_light"),
        (("--keep", "haze", "--remove", "rain"), "not allowed with"),
        (("--keep", "haze", "--no-guidance"), "steer the guidance"),
    ],
)
def test_wishes_that_make_no_sense_cost_one_sentence(
    photo: Path, tmp_path: Path, wishes: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("restore", photo, "-o", tmp_path / "out", *wishes) != 0
    assert words in sentence(capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set", "noise"), "write it as noise=0.5"),
        (("--set", "noise=2"), "not a number between 0 and 1"),
        (("--remove", "rain=much"), "not a number between 0 and 1"),
        (("--set", "grain=0.4"), "not a list of low_light"),
        (("--set", "noise=0.4", "--no-guidance"), "steer the guidance"),
        (("--set", "noise=0.4"), "without directions"),
    ],
)
def test_a_severity_or_an_amount_that_makes_no_sense_costs_one_sentence(
    words: tuple[str, ...], says: str, photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, *words) in (1, 2)
    assert says in sentence(capsys)


@pytest.mark.weights
@pytest.mark.usefixtures("real_mllm")
def test_an_order_acts_on_what_is_not_seen_and_in_the_amount_that_is_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = np.linspace(60, 190, 96)[:, None, None] + np.linspace(-30, 30, 128)[None, :, None] + np.zeros(3)
    noisy = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    photo = save(tmp_path / "noisy.png", noisy)

    def error(*words: str) -> float:
        assert run("restore", photo, "-o", tmp_path / "out", *words) == 0
        return float(np.abs(load(tmp_path / "out" / "noisy.png") - smooth).mean())

    whole, half, none = (error("--remove", f"noise={amount}") for amount in (1, 0.5, 0))
    assert whole < half < none
    tone = ("--keep", "low_light,haze")
    assert error("--set", "noise=0", *tone) > error("--set", "noise=0.4", *tone)


@pytest.mark.field
def test_row13_an_order_that_changes_next_to_nothing_says_so_on_the_error_stream(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("restore", photo, "-o", tmp_path / "out", "--restorer", restorer)
    assert run(*arguments, "--remove", "low_light") == 0
    assert "next to nothing" not in capsys.readouterr().err
    monkeypatch.setattr("mofe_restore.model.inference.effect.NEXT_TO_NOTHING", 1.0)
    assert run(*arguments) == 0
    assert "next to nothing" not in capsys.readouterr().err
    assert run(*arguments, "--remove", "low_light") == 0
    said = capsys.readouterr().err
    assert f"Note on {photo}: The order to remove low light changed next to nothing (by " in said

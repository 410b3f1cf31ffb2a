"""`mofe restore` on folders and pipes: structure, formats, the manifest, and going on where it stopped."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mofe_restore.model.weights import read_weights, write_weights
from mofe_restore.tests.cli.calls import load, noise, run, save, sentence
from mofe_restore.tests.factories import write_restorer


@pytest.fixture
def holiday(tmp_path: Path) -> Path:
    for name in ("a.png", "sub/b.png"):
        save(tmp_path / "holiday" / name, noise(20, 24, 3))
    save(tmp_path / "holiday" / "sub" / "b.png", noise(20, 28, 3))
    return tmp_path / "holiday"


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.field
class TestRow14:
    def test_row14_alpha_edges_take_no_color_from_hidden_pixels(self, restorer: Path, tmp_path: Path) -> None:
        colors = noise(40, 48, 4)
        colors[..., 3] = 255
        colors[:, 24:, 3] = 0
        results = []
        for hidden in (0, 255):
            colors[:, 24:, :3] = hidden
            path = save(tmp_path / f"{hidden}.png", colors)
            assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
            results.append(load(tmp_path / "out" / path.name))
            assert (results[-1][:, 24:] == colors[:, 24:]).all(), "what nobody sees stays as it is"
        assert np.array_equal(results[0][:, :24], results[1][:, :24])
        assert (results[0][:, :24] != colors[:, :24]).any()

    def test_row14_a_fully_transparent_image_stays_as_it_is(self, restorer: Path, tmp_path: Path) -> None:
        colors = noise(20, 24, 4)
        colors[..., 3] = 0
        path = save(tmp_path / "in.png", colors)
        assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
        assert np.array_equal(load(tmp_path / "out" / "in.png"), colors)


@pytest.mark.field
class TestRow15:
    def test_row15_folders_keep_their_structure(self, holiday: Path, restorer: Path, tmp_path: Path) -> None:
        assert run("restore", holiday, "-o", tmp_path / "out", "--restorer", restorer) == 0
        assert files_in(tmp_path / "out") == ["a.png", "sub/b.png"]
        assert load(tmp_path / "out" / "sub" / "b.png").shape == (20, 28, 3)

    def test_row15_resume_does_what_is_missing_or_changed(
        self, holiday: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out"
        (holiday / "c.png").write_bytes(b"damaged")
        words = ("restore", holiday, "-o", out, "--restorer", restorer, "--resume")
        assert run(*words) == 1
        entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
        assert [(entry["output"], entry["error"] is None) for entry in entries] == [
            ("a.png", True),
            (None, False),
            ("sub/b.png", True),
        ]
        assert entries[0]["description"] == "Strong low light." and entries[0]["psnr"] < 60
        assert entries[0]["seconds"] > 0 and len(entries[0]["digest"]) == 64
        (out / "a.png").unlink()
        save(holiday / "sub" / "b.png", noise(20, 32, 3))
        save(holiday / "c.png", noise(20, 20, 3))
        capsys.readouterr()
        assert run(*words) == 0 and capsys.readouterr().err == "", "nothing was left out"
        assert load(out / "sub" / "b.png").shape == (20, 32, 3)
        before = (out / "a.png").stat().st_mtime_ns
        assert run(*words) == 0
        assert "3 images were left out" in sentence(capsys) and (out / "a.png").stat().st_mtime_ns == before
        assert run(*words, "--strength", 0.5) == 0
        assert (out / "a.png").stat().st_mtime_ns != before, "other options give another result"

    def test_resume_keeps_no_results_of_other_weights(
        self, holiday: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        weights, copy = write_restorer(tmp_path / "a.safetensors"), tmp_path / "b.safetensors"
        shutil.copy(weights, copy)
        words = ("restore", holiday, "-o", tmp_path / "out", "--resume", "--no-guidance", "--restorer")
        assert run(*words, weights) == 0
        before = load(tmp_path / "out" / "a.png")
        assert run(*words, copy) == 0 and "2 images were left out" in sentence(capsys), "its place does not matter"
        state, card = read_weights(weights, "restorer")
        write_weights(weights, {name: -value for name, value in state.items()}, card, torch.float32)
        assert run(*words, weights) == 0 and capsys.readouterr().err == ""
        assert (load(tmp_path / "out" / "a.png") != before).any()

    def test_resume_keeps_no_results_of_another_mask(
        self, holiday: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ("restore", holiday / "a.png", "-o", tmp_path / "out", "--resume", "--restorer", restorer)
        mask = np.full((20, 24), 255, np.uint8)
        for name in ("a.png", "b.png"):
            assert run(*words, "--mask", save(tmp_path / name, mask)) == 0
        assert "1 image was left out" in sentence(capsys)
        mask[:10] = 0
        assert run(*words, "--mask", save(tmp_path / "a.png", mask)) == 0 and capsys.readouterr().err == ""

    def test_row15_resume_never_takes_an_original_for_a_result(
        self, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        photo = save(tmp_path / "a.jpg", noise(20, 20, 3))
        other = save(tmp_path / "a.png", noise(24, 24, 3))
        before = other.read_bytes()
        assert run("restore", photo, "-o", tmp_path, "--restorer", restorer, "--resume") == 1
        assert "beside the images" in sentence(capsys) and other.read_bytes() == before

    def test_row15_existing_results_are_skipped(
        self, holiday: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        there = save(tmp_path / "out" / "a.png", noise(16, 16, 1))
        before = there.read_bytes()
        assert run("restore", holiday, "-o", tmp_path / "out", "--restorer", restorer, "--skip-existing") == 0
        assert "1 image was left out" in sentence(capsys)
        assert there.read_bytes() == before and (tmp_path / "out" / "sub" / "b.png").exists()

    @pytest.mark.parametrize(("name", "kind"), [("jpg", "JPEG"), ("webp", "WEBP"), ("tif", "TIFF"), ("png", "PNG")])
    def test_row15_the_format_is_chosen(
        self, name: str, kind: str, photo: Path, restorer: Path, tmp_path: Path
    ) -> None:
        words = ("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--format", name)
        assert run(*words) == 0
        with Image.open(tmp_path / "out" / f"photo.{name}") as image:
            assert image.format == kind and image.size == (50, 40)

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--quality", 50), "leave it out"),
            (("--format", "jpg", "--quality", 101), "1 to 100"),
            (("--format", "jpg", "--quality", 0), "from 1 up"),
            (("--resume", "--skip-existing"), "not allowed with"),
        ],
    )
    def test_row15_options_that_make_no_sense_cost_one_sentence(
        self, words: tuple[object, ...], says: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("restore", photo, "-o", tmp_path / "out", *words) in (1, 2)
        assert says in sentence(capsys)

    @pytest.mark.skipif(os.name == "nt", reason="paths are limited there, not names")
    def test_row15_a_name_may_be_as_long_as_the_file_system_allows(self, restorer: Path, tmp_path: Path) -> None:
        name = "n" * (os.pathconf(tmp_path, "PC_NAME_MAX") - 4) + ".png"
        photo = save(tmp_path / "in" / name, noise(20, 20, 3))
        assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer) == 0
        assert files_in(tmp_path / "out") == [name]
        assert run("restore", tmp_path / ("n" * 300), "-o", tmp_path / "out", "--restorer", restorer) == 1


@pytest.mark.field
class TestRow16:
    @pytest.fixture
    def piped(self, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Standard input holds the photo, and cannot go back."""
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(photo.read_bytes())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(os.fdopen(reading, "rb")))

    @pytest.mark.usefixtures("piped")
    def test_row16_images_come_and_go_through_pipes(
        self, photo: Path, restorer: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        assert run("restore", "-", "-o", "-", "--restorer", restorer) == 0
        with Image.open(io.BytesIO(capsysbinary.readouterr().out)) as image:
            assert image.format == "PNG"
            through = np.asarray(image)
        assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer) == 0
        assert np.array_equal(through, load(tmp_path / "out" / "photo.png"))

    @pytest.mark.usefixtures("piped")
    def test_row16_standard_input_gets_a_name_in_a_folder(
        self, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("restore", "-", "-o", tmp_path / "out", "--restorer", restorer, "--json", "-") == 0
        (entry,) = json.loads(capsys.readouterr().out)
        assert entry["file"] == "standard input" and files_in(tmp_path / "out") == ["stdin.png"]

    @pytest.mark.usefixtures("piped")
    def test_row16_descriptions_go_to_standard_output_as_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("describe", "-", "--json", "-") == 0
        (entry,) = json.loads(capsys.readouterr().out)
        assert entry["file"] == "standard input" and entry["description"] == "Strong low light."

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("-o", "-", "--json", "-"), "both write to standard output"),
            (("-o", "-", "--resume"), "need a folder"),
        ],
    )
    def test_row16_what_does_not_go_together_costs_one_sentence(
        self, words: tuple[str, ...], says: str, photo: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("restore", photo, *words) == 1
        assert says in sentence(capsys)

    def test_row16_one_image_goes_to_standard_output(self, holiday: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("restore", holiday, "-o", "-") == 1
        assert "one image, not 2" in sentence(capsys)

    def test_row16_an_image_is_not_written_to_the_terminal(
        self, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        assert run("restore", photo, "-o", "-") == 1
        assert "terminal" in sentence(capsys)

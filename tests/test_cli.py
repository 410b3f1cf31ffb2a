"""The `mofe` command: what it writes, and that bad input costs one sentence and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mofe_restore import cli
from mofe_restore.model.guidance import DEGRADATIONS, PARAMETERS, Guidance
from mofe_restore.model.mllm import identity_of
from mofe_restore.model.restorer import Restorer, RestorerConfig
from mofe_restore.model.weights import SHIPPED_MLLM, SHIPPED_RESTORER, Card, write_weights
from mofe_restore.session import Session

WIDTH = 8
IDENTITY = "tiny:0123"


class TinyMllm:
    """Stands in for the language model: random guidance of the right form, at once."""

    identity = IDENTITY

    def describe(self, pictures: torch.Tensor, *, with_text: bool = True, **_: Any) -> Guidance:
        count = len(pictures)
        generator = torch.Generator().manual_seed(0)
        return Guidance(
            tokens=torch.randn(count, 5, WIDTH, generator=generator),
            pooled=torch.randn(count, WIDTH, generator=generator),
            scores=torch.tensor([[0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]).repeat(count, 1),
            parameters=torch.zeros(count, len(PARAMETERS)),
            descriptions=("Strong low light." if with_text else "",) * count,
            mllm_identity=self.identity,
        )


def write_restorer(path: Path, guidance_width: int, mllm_identity: str) -> Path:
    """A tiny restorer with random weights, which changes what it is given."""
    torch.manual_seed(0)
    config = RestorerConfig(
        guidance_width=guidance_width,
        widths=(8, 8, 16, 16),
        encoder_blocks=(1, 1, 1, 1),
        decoder_blocks=(1, 1, 1),
        vector_width=16,
        head_width=8,
        thumbnail=32,
        global_widths=(8, 8, 8, 8),
        global_blocks=1,
    )
    network = Restorer.from_config(config)
    torch.nn.init.normal_(network.outro.weight, std=0.1)
    card = Card("restorer", "tiny", "0", config.to_dict(), {}, {}, "none", "none", "Apache-2.0", mllm_identity)
    write_weights(path, network.state_dict(), card, torch.float32)
    return path


@pytest.fixture(scope="session")
def restorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer for `TinyMllm`."""
    return write_restorer(tmp_path_factory.mktemp("restorer") / "tiny.safetensors", WIDTH, IDENTITY)


@pytest.fixture
def real_mllm() -> None:
    """Asking for it keeps `TinyMllm` away."""


@pytest.fixture(autouse=True)
def tiny_mllm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_mllm" not in request.fixturenames:
        monkeypatch.setattr(Session, "mllm", property(lambda self: TinyMllm()))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "in" / "photo.png", noise(40, 50, 3))


def noise(height: int, width: int, channels: int, kind: Any = np.uint8) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(1).integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr, which must be one line that starts with the program's name."""
    error = capsys.readouterr().err
    assert error.startswith("mofe") and error.endswith(".\n") and error.count("\n") == 1, error
    return error


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
    monkeypatch.setattr(Session, "mllm", property(lambda self: pytest.fail("the language model was loaded")))
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


def test_colour_profile_is_kept(restorer: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "in.png", noise(20, 30, 3), icc_profile=b"a profile")
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 0
    with Image.open(tmp_path / "out" / "in.png") as image:
        assert image.info["icc_profile"] == b"a profile"


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


def bad_pictures(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    text = folder / "text.jpg"
    text.write_text("no picture")
    cut = save(folder / "cut.png", noise(64, 64, 3))
    cut.write_bytes(cut.read_bytes()[:2000])
    empty = folder / "empty.png"
    empty.touch()
    tiny = save(folder / "tiny.png", noise(8, 8, 3))
    return {"missing": folder / "missing.png", "text": text, "cut": cut, "empty": empty, "tiny": tiny, "folder": folder}


@pytest.mark.parametrize("command", ["restore", "describe"])
@pytest.mark.parametrize("kind", ["missing", "text", "cut", "empty", "tiny", "folder"])
def test_bad_picture_costs_one_sentence(
    command: str, kind: str, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bad_pictures(tmp_path / "bad")[kind]
    extra = ("-o", tmp_path / "out", "--restorer", restorer) if command == "restore" else ()
    assert run(command, path, *extra) == 1
    assert str(path) in sentence(capsys)


def test_bad_picture_does_not_cost_the_others(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = bad_pictures(tmp_path / "bad")
    later = save(tmp_path / "later.png", noise(20, 20, 3))
    report = tmp_path / "report.json"
    words = (photo, bad["cut"], bad["tiny"], later, "-o", tmp_path / "out", "--restorer", restorer, "--json", report)
    assert run("restore", *words) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["later.png", "photo.png"]
    assert [Path(entry["file"]).name for entry in json.loads(report.read_text())] == ["photo.png", "later.png"]
    assert len(capsys.readouterr().err.splitlines()) == 2


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
    monkeypatch.setattr(TinyMllm, "identity", "another:4567")
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


def test_describe_prints_and_writes_what_it_sees(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "seen.json"
    assert run("describe", photo, "--json", report) == 0
    assert "Strong low light." in capsys.readouterr().out
    (entry,) = json.loads(report.read_text())
    assert list(entry) == ["file", "description", "scores"]
    assert tuple(entry["scores"]) == DEGRADATIONS
    assert all(0 <= score <= 1 for score in entry["scores"].values())


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("mend",),
        ("restore",),
        ("restore", "a.png", "-o", "out", "--strength", "2"),
        ("restore", "a.png", "-o", "out", "--tile", "-1"),
        ("restore", "a.png", "-o", "out", "--precision", "int8"),
        ("evaluate",),
        ("train", "everything", "--config", "x.toml"),
    ],
)
def test_wrong_arguments_cost_one_sentence(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert "--help" in sentence(capsys)


@pytest.mark.parametrize("what", ["mllm", "restorer"])
@pytest.mark.parametrize("content", [None, "this is not = = TOML", "[loop]\nsteps = 'many'\n"])
def test_bad_training_config_costs_one_sentence(
    what: str, content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_text(content)
    assert run("train", what, "--config", path) == 1
    sentence(capsys)


@pytest.mark.parametrize("words", [("composites", "--clean"), ("descriptions", "--clean"), ("pairs",)])
def test_evaluation_of_a_missing_folder_costs_one_sentence(
    words: tuple[str, ...], restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = () if words[0] == "descriptions" else ("--restorer", restorer)
    assert run("evaluate", *words, tmp_path / "nowhere", *extra) == 1
    assert "nowhere" in sentence(capsys)


@pytest.mark.parametrize("what", ["composites", "guidance", "descriptions"])
def test_evaluation_prints_a_table_and_writes_its_numbers(
    what: str, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "clean" / "a.png", noise(32, 32, 3))
    extra = () if what == "descriptions" else ("--restorer", restorer)
    report = tmp_path / "numbers.json"
    assert run("evaluate", what, "--clean", tmp_path / "clean", "--json", report, *extra) == 0
    assert "|" in capsys.readouterr().out
    assert json.loads(report.read_text())["tables"][0]["rows"]


def test_evaluation_of_pairs_compares_input_and_output(
    restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("input", "target"):
        save(tmp_path / "pairs" / name / "a.png", noise(32, 32, 3))
    assert run("evaluate", "pairs", tmp_path / "pairs", "--restorer", restorer, "--no-guidance") == 0
    assert "PSNR in" in capsys.readouterr().out


def test_demo_writes_a_sheet_and_a_chart_of_each_photograph(
    restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("demo", "-o", tmp_path / "out", "--restorer", restorer) == 0
    assert capsys.readouterr().out.count("seen: Strong low light.") == 5
    assert len(list((tmp_path / "out").glob("*_routing.png"))) == 5
    assert len(list((tmp_path / "out").glob("*.png"))) == 10


@pytest.mark.slow
def test_bench_prints_both_precisions(restorer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "--runs", 1, "--no-large", "--restorer", restorer) == 0
    printed = capsys.readouterr().out
    assert "| restore | fp32 |" in printed and "| describe | bf16 |" in printed


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mofe_restore import cli; cli.main(['--help']);"
        "sys.exit(len({'torch', 'numpy', 'PIL', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)  # noqa: S603 - own code
    assert done.returncode == 0


def test_defects_are_not_disguised(monkeypatch: pytest.MonkeyPatch) -> None:
    def parser() -> Any:
        return SimpleNamespace(parse_args=lambda _: SimpleNamespace(run=lambda _: int("seven")))

    monkeypatch.setattr(cli, "build_parser", parser)
    monkeypatch.setattr(cli, "_is_ours", lambda _: False)
    with pytest.raises(ValueError, match="seven"):
        cli.main([])


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def lack(_: Any) -> int:
        raise ModuleNotFoundError("No module named 'accelerate'", name="accelerate")

    monkeypatch.setattr(cli, "build_parser", lambda: SimpleNamespace(parse_args=lambda _: SimpleNamespace(run=lack)))
    assert cli.main([]) == 1
    assert "mofe-restore[train]" in capsys.readouterr().err


shipped = pytest.mark.skipif(
    not (SHIPPED_RESTORER.exists() and (SHIPPED_MLLM / "config.json").exists()), reason="the weights are not there yet"
)


@shipped
@pytest.mark.weights
@pytest.mark.usefixtures("real_mllm")
def test_demo_gains_on_every_degraded_photograph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("demo") == 0
    gains = [float(line.split("(")[1].split()[0]) for line in capsys.readouterr().out.splitlines() if "PSNR" in line]
    assert len(gains) >= 3 and min(gains) > 0
    assert len(list((tmp_path / "demo_output").glob("*.png"))) >= 8

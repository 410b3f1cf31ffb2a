"""What `install.py` finds out, and that it recovers half-made environments."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def install(root: Path) -> ModuleType:
    """A fresh copy of the module, so that a test may change its constants."""
    spec = importlib.util.spec_from_file_location("install_under_test", root / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def safetensors_bytes(data: bytes = b"\0" * 8) -> bytes:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


def write_sums(folder: Path, *names: str) -> None:
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in names]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    (folder / "mllm").mkdir(parents=True)
    (folder / "restorer.safetensors").write_bytes(safetensors_bytes())
    (folder / "mllm" / "config.json").write_text("{}")
    write_sums(folder, "restorer.safetensors", "mllm/config.json")
    return folder


def test_whole_weights_have_no_problem(install: ModuleType, weights: Path) -> None:
    assert install.weight_problems(weights) == []


def test_missing_list_of_weights_is_named(install: ModuleType, tmp_path: Path) -> None:
    (problem,) = install.weight_problems(tmp_path)
    assert "SHA256SUMS" in problem


def test_missing_weight_file_is_named(install: ModuleType, weights: Path) -> None:
    (weights / "mllm" / "config.json").unlink()
    (problem,) = install.weight_problems(weights)
    assert "mllm/config.json is missing" in problem


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (safetensors_bytes()[:-3], "cut off"),
        (safetensors_bytes()[:20], "cut off"),
        (b"just some text, longer than a header's length", "no safetensors file"),
        (safetensors_bytes() + b"more", "header does not name"),
        (safetensors_bytes(b"\1" * 8), "not the file that was released"),
        (struct.pack("<Q", 2) + b"[]", "no safetensors file"),
    ],
)
def test_damaged_weights_are_recognized(install: ModuleType, weights: Path, content: bytes, complaint: str) -> None:
    (weights / "restorer.safetensors").write_bytes(content)
    (problem,) = install.weight_problems(weights)
    assert problem.startswith("weights/restorer.safetensors") and complaint in problem


def test_git_lfs_pointer_is_recognized(install: ModuleType, weights: Path) -> None:
    (weights / "mllm" / "config.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "LFS" in install.weight_problems(weights)[0]


def test_missing_and_old_packages_are_named(install: ModuleType) -> None:
    found = install.package_problems({"no_such_module_here": ("nothing", "1.0"), "numpy": ("numpy", "999.0")})
    assert [problem.split()[0] for problem in found] == ["nothing", "numpy"]


def test_check_needs_nothing_when_all_is_there(
    install: ModuleType, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "weight_problems", lambda: [])
    monkeypatch.setattr(install, "call", lambda *_: pytest.fail("the check must not install anything"))
    assert install.main([]) == 0
    assert "fine" in capsys.readouterr().out


def test_check_fails_with_a_sentence(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "weight_problems", lambda: ["weights/x is missing: fetch it."])
    assert install.main([]) == 1
    assert "weights/x is missing" in capsys.readouterr().out


def test_versions_are_compared_as_numbers(install: ModuleType) -> None:
    assert install.numbers("2.13.0+cpu") == (2, 13, 0) > install.numbers("2.4")
    assert install.numbers("5.0rc1") == (5, 0)
    assert install.numbers("1.2.dev3") == (1, 2)


def test_unknown_command_is_refused(install: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert install.main(["everything"]) == 2
    assert "'everything'" in capsys.readouterr().err


class FakeEnvironment:
    """Stands in for venv and pip: records the calls, makes an interpreter's file, fails where it is told to."""

    def __init__(self, install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.install = install
        self.calls: list[list[str]] = []
        self.failing = ""
        monkeypatch.setattr(install, "call", self.call)
        monkeypatch.setattr(install, "find_python", lambda: sys.executable)
        monkeypatch.setattr(install, "has_pip", lambda _: True)
        monkeypatch.setattr(install, "version_of", lambda python: (3, 11) if Path(python).exists() else None)

    def call(self, *command: object) -> int:
        words = [str(word) for word in command]
        self.calls.append(words)
        if "venv" in words:
            python = self.install.python_of(Path(words[-1]))
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        return int(bool(self.failing) and any(self.failing in word for word in words))

    @property
    def made(self) -> int:
        return sum("venv" in words for words in self.calls)


@pytest.fixture
def fake(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeEnvironment:
    return FakeEnvironment(install, monkeypatch)


def test_torch_is_installed_first_and_alone(install: ModuleType, fake: FakeEnvironment, tmp_path: Path) -> None:
    install.prepare("demo", tmp_path / "env")
    pips = [words for words in fake.calls if "pip" in words]
    first = [word for before, word in zip(pips[0], pips[0][1:], strict=False) if before == "-r"]
    assert [Path(word).name for word in first] == ["torch.txt"]
    assert all("--disable-pip-version-check" in words for words in pips)


def test_second_run_installs_nothing(install: ModuleType, fake: FakeEnvironment, tmp_path: Path) -> None:
    install.prepare("test", tmp_path / "env")
    fake.calls.clear()
    install.prepare("test", tmp_path / "env")
    install.prepare("demo", tmp_path / "env")  # the tests' packages include the demo's
    assert fake.calls == []


def test_environment_of_the_demo_is_filled_for_the_tests(
    install: ModuleType, fake: FakeEnvironment, tmp_path: Path
) -> None:
    install.prepare("demo", tmp_path / "env")
    install.prepare("test", tmp_path / "env")
    assert fake.made == 1
    assert any("test.txt" in word for word in fake.calls[-2])


def test_half_made_environment_is_made_anew(install: ModuleType, fake: FakeEnvironment, tmp_path: Path) -> None:
    fake.failing = "torch.txt"
    with pytest.raises(install.InstallError, match="torch"):
        install.prepare("demo", tmp_path / "env")
    fake.failing = ""
    install.prepare("demo", tmp_path / "env")
    assert fake.made == 2


def test_our_environment_that_runs_no_more_is_made_anew(
    install: ModuleType, fake: FakeEnvironment, tmp_path: Path
) -> None:
    install.prepare("demo", tmp_path / "env")
    install.python_of(tmp_path / "env").unlink()
    install.prepare("demo", tmp_path / "env")
    assert fake.made == 2


@pytest.fixture
def of_the_user(install: ModuleType, tmp_path: Path) -> Path:
    """An environment that install.py did not make, with something in it that must not be lost."""
    python = install.python_of(tmp_path / "env")
    python.parent.mkdir(parents=True)
    python.touch()
    (tmp_path / "env" / "precious").touch()
    return tmp_path / "env"


def test_environment_of_the_user_is_kept_and_filled(
    install: ModuleType, fake: FakeEnvironment, of_the_user: Path
) -> None:
    install.prepare("demo", of_the_user)
    install.prepare("test", of_the_user)
    assert fake.made == 0 and (of_the_user / "precious").exists()


def test_environment_of_the_user_survives_a_failed_installation(
    install: ModuleType, fake: FakeEnvironment, of_the_user: Path
) -> None:
    fake.failing = "torch.txt"
    for _ in range(2):
        with pytest.raises(install.InstallError, match="torch"):
            install.prepare("demo", of_the_user)
    fake.failing = ""
    install.prepare("demo", of_the_user)
    assert fake.made == 0 and (of_the_user / "precious").exists()


def test_environment_of_the_user_that_does_not_run_is_refused_and_kept(
    install: ModuleType, fake: FakeEnvironment, of_the_user: Path
) -> None:
    install.python_of(of_the_user).unlink()
    with pytest.raises(install.InstallError, match="not made by install.py"):
        install.prepare("demo", of_the_user)
    assert fake.calls == [] and (of_the_user / "precious").exists()


def test_environment_without_pip_gets_one_or_costs_a_sentence(
    install: ModuleType, fake: FakeEnvironment, of_the_user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "has_pip", lambda _: False)
    fake.failing = "ensurepip"
    with pytest.raises(install.InstallError, match="has no pip"):
        install.prepare("demo", of_the_user)
    fake.failing = ""
    install.prepare("demo", of_the_user)
    assert fake.made == 0 and "ensurepip" in fake.calls[1]


def test_a_python_without_pip_still_runs(install: ModuleType, tmp_path: Path) -> None:
    assert install.call(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env") == 0
    python = install.python_of(tmp_path / "env")
    assert install.version_of(python) == sys.version_info[:2]
    assert not install.has_pip(python) and install.has_pip(sys.executable)


def test_an_environment_is_marked_as_ours_before_it_is_made(
    install: ModuleType, fake: FakeEnvironment, tmp_path: Path
) -> None:
    fake.failing = "venv"
    with pytest.raises(install.InstallError, match="could not be made"):
        install.prepare("demo", tmp_path / "env")
    assert (tmp_path / "env" / install.MADE_HERE).exists()
    fake.failing = ""
    install.prepare("demo", tmp_path / "env")
    assert fake.made == 2


def test_changed_requirements_are_installed(
    install: ModuleType, fake: FakeEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.prepare("demo", tmp_path / "env")
    fake.calls.clear()
    wanted = install.wanted_stamp("demo")
    monkeypatch.setattr(install, "wanted_stamp", lambda _: wanted | {"requirements/runtime.txt": "other"})
    install.prepare("demo", tmp_path / "env")
    assert fake.calls


def test_tests_go_on_after_a_failed_step(
    install: ModuleType, fake: FakeEnvironment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "prepare", lambda _: Path(sys.executable))
    fake.failing = "mypy"
    assert install.main(["test", "-k", "bands"]) == 1
    assert fake.calls[-1][2:] == ["pytest", "-k", "bands"]
    assert "Failed: mypy" in capsys.readouterr().out

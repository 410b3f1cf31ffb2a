"""Checks the pack, and sets it up for a try or for its tests.

    python install.py              what ComfyUI-Manager runs: checks Python, packages and weights, installs nothing
    python install.py demo         makes `.venv` with pinned packages and runs the demo
    python install.py test [ARGS]  the same with the test tools: ruff, mypy and pytest (which gets ARGS)

Without arguments it returns 0 when the pack can run and 1 when something is missing; ComfyUI-Manager then reports the
installation as failed and shows what was printed, which is what a user should see. Standard library only.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent

OLDEST_PYTHON = (3, 10)
PINNED_PYTHON = (3, 11)
"""The Python that the pinned requirements were tested with; newer ones may work, older ones cannot."""

PACKAGES = {
    "torch": ("torch", "2.4"),
    "numpy": ("numpy", "1.26"),
    "PIL": ("pillow", "10.3"),
    "safetensors": ("safetensors", "0.4.3"),
    "transformers": ("transformers", "4.50.3"),
    "tqdm": ("tqdm", "4.60"),
    "psutil": ("psutil", "5.9"),
}
"""Import name -> (package name, oldest version that works). ComfyUI ships every one of them."""

REQUIREMENTS = {
    "demo": ("requirements-standalone.txt",),
    "test": ("requirements-standalone.txt", "requirements-train.txt", "requirements-test.txt"),
}
TORCH = "requirements-torch.txt"
STAMP = "mofe-requirements.json"
MADE_HERE = "mofe-made-by-install.py"
"""Lies in every environment that this program made; one without it is somebody else's and is never cleared."""

UNFINISHED = "mofe-unfinished"


class InstallError(RuntimeError):
    """Something the user has to know; the message is one sentence."""


# Checks -------------------------------------------------------------------------------------------------------------


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.13.0+cpu" -> (2, 13, 0), "3.0rc1" -> (3, 0)."""
    found: list[int] = []
    for part in version.split("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
        if digits != part:
            break
    return tuple(found)


def package_problems(packages: dict[str, tuple[str, str]] = PACKAGES) -> list[str]:
    """One sentence for each package that is missing or too old. Nothing is imported."""
    problems = []
    for module, (package, oldest) in packages.items():
        if importlib.util.find_spec(module) is None:
            problems.append(
                f"{package} is missing from {sys.executable}: if ComfyUI runs on another Python, ask with that one; "
                "else update ComfyUI and its requirements, which have it."
            )
            continue
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # installed in a way that records no version; it can be imported, and that is what counts
        if numbers(version) < numbers(oldest):
            problems.append(f"{package} {version} is too old: {oldest} or newer is needed, so update ComfyUI.")
    return problems


def safetensors_problem(path: Path) -> str | None:
    """What is wrong with a safetensors file, judged by its header and its size, or None."""
    size = path.stat().st_size
    if size < 8:
        return "is empty or cut off"
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > size - 8 or length > 100_000_000:
            return "is cut off or no safetensors file"
        try:
            header = json.loads(file.read(length))
            spans = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
            end = max(int(stop) for _, stop in spans)
        except (ValueError, TypeError, KeyError, AttributeError):
            return "is no safetensors file"
    if 8 + length + end != size:
        return "is cut off" if size < 8 + length + end else "has data that its header does not name"
    return None


def weight_problems(folder: Path = ROOT / "weights") -> list[str]:
    """One sentence for each weight file that is missing or damaged, by the list `SHA256SUMS` in `folder`."""
    again = "install the pack again or fetch the file from its repository"
    try:
        lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    except OSError:
        return [f"{folder.name}/SHA256SUMS cannot be read, so the weights cannot be checked: {again}."]
    problems = []
    for line in filter(str.strip, lines):
        expected, _, name = line.partition(" ")
        name = name.strip().removeprefix("*")
        path = folder / name
        shown = f"{folder.name}/{name}"
        if not path.is_file():
            problems.append(f"{shown} is missing: {again}.")
            continue
        damage = safetensors_problem(path) if path.suffix == ".safetensors" else None
        if damage is None and hashlib.sha256(path.read_bytes()).hexdigest() != expected.lower():
            damage = "is not the file that was released"
            if path.read_bytes()[:7] == b"version":
                damage = "is only a Git LFS pointer"
        if damage:
            problems.append(f"{shown} {damage}: {again}.")
    return problems


def check() -> int:
    """Says what is missing; 0 when the pack can run, 1 otherwise."""
    problems = []
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        problems.append(f"Python {sys.version.split()[0]} is too old: {wanted} or newer is needed.")
    problems += package_problems() + weight_problems()
    for problem in problems:
        print(f"MoFE Restore: {problem}")
    if not problems:
        print("MoFE Restore: the environment and the weights are fine; nothing had to be installed.")
    return 1 if problems else 0


# The environment for demo and test ----------------------------------------------------------------------------------


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def call(*command: str | Path) -> int:
    """Runs a program of ours with the given arguments, in the pack's folder, and returns its exit status."""
    # Every caller passes a full path to a Python interpreter and a fixed list of arguments; no shell reads it.
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode  # noqa: S603


def answer_of(python: str | Path, code: str) -> str | None:
    """What an interpreter prints when it runs a line of ours, or None where it fails."""
    try:
        # `python` is a full path found by us; the code is fixed.
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def version_of(python: str | Path) -> tuple[int, int] | None:
    """The version of an interpreter, or None where it does not run."""
    answer = answer_of(python, "import sys; print(*sys.version_info[:2])")
    if answer is None:
        return None
    major, minor = answer.split()[:2]
    return int(major), int(minor)


def has_pip(python: str | Path) -> bool:
    """Whether an interpreter can run pip; environments that uv made cannot."""
    return answer_of(python, "import pip") is not None


def find_python() -> str:
    """The interpreter to build `.venv` from: the pinned version where there is one, else this one if it is newer."""
    if sys.version_info[:2] == PINNED_PYTHON:
        return sys.executable
    pinned = shutil.which("python" + ".".join(map(str, PINNED_PYTHON)))
    if pinned and version_of(pinned) == PINNED_PYTHON:
        return pinned
    if sys.version_info[:2] > PINNED_PYTHON:
        return sys.executable
    raise InstallError(
        f"Python {'.'.join(map(str, PINNED_PYTHON))} is needed for the pinned packages, and this is "
        f"{sys.version.split()[0]}: start install.py with a newer Python."
    )


def wanted_stamp(purpose: str) -> dict[str, str]:
    """File name -> SHA-256 of each requirement file that `purpose` needs, and of what the package declares."""
    files = (TORCH, *REQUIREMENTS[purpose], "pyproject.toml")
    return {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in files}


def read_stamp(environment: Path) -> dict[str, str]:
    try:
        stamp = json.loads((environment / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def prepare(purpose: str, environment: Path = ROOT / ".venv") -> Path:
    """Makes `environment` fit for `purpose` and returns its interpreter; does nothing when it already is.

    One that this program left half-made, or made and that does not run any more, is made anew. An environment that
    somebody else made is kept and filled, or refused, but never cleared.
    """
    python, stamp = python_of(environment), wanted_stamp(purpose)
    runs = python.exists() and version_of(python) is not None
    ours = (environment / MADE_HERE).exists()
    unfinished = environment / UNFINISHED
    if runs and not (ours and unfinished.exists()):
        if stamp.items() <= read_stamp(environment).items():
            return python
    elif ours or not environment.exists():
        make(environment)
        ours = True
    else:
        raise InstallError(
            f"{environment} holds no Python that runs and was not made by install.py: rename or delete it, then run "
            "the same command again."
        )
    if ours:
        unfinished.touch()
    if not has_pip(python):
        print("Adding pip ...", flush=True)
        if call(python, "-m", "ensurepip", "--default-pip") != 0:
            raise InstallError(f"{python} has no pip: install pip into {environment}, then run the same command again.")
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet")
    constraints = [part for name in REQUIREMENTS[purpose] for part in ("-c", ROOT / name)]
    requirements = [part for name in REQUIREMENTS[purpose] for part in ("-r", ROOT / name)]
    steps = (
        ("torch, which is large", ["-r", ROOT / TORCH, *constraints]),
        ("the other packages", requirements),
        ("the pack itself", ["--no-deps", "--no-build-isolation", "-e", ROOT]),
    )
    for what, arguments in steps:
        print(f"Installing {what} ...", flush=True)
        if call(*pip, *arguments) != 0:
            raise InstallError(f"pip could not install {what}: its message is above; run the same command again.")
    done = read_stamp(environment) | stamp
    (environment / STAMP).write_text(json.dumps(done, indent=1), encoding="utf-8")
    unfinished.unlink(missing_ok=True)
    return python


def make(environment: Path) -> None:
    """A new environment with the mark `MADE_HERE`, which comes first: it also has to tell whose a half-made one is."""
    print(f"Making {environment.name} ...", flush=True)
    if environment.exists():
        shutil.rmtree(environment)
    environment.mkdir(parents=True)
    (environment / MADE_HERE).touch()
    (environment / UNFINISHED).touch()
    if call(find_python(), "-m", "venv", environment) != 0:
        raise InstallError(f"{environment} could not be made: is the venv module of Python installed?")


def run_demo(arguments: list[str]) -> int:
    python = prepare("demo")
    return call(python, "-m", "mofe_restore.cli", "demo", *arguments)


def run_tests(arguments: list[str]) -> int:
    """Runs every check, also after one has failed, and returns 0 only when all passed."""
    python = prepare("test")
    steps = {
        "ruff check": ("ruff", "check", "."),
        "ruff format": ("ruff", "format", "--check", "."),
        "mypy": ("mypy",),
        "pytest": ("pytest", *arguments),
    }
    failed = []
    for name, command in steps.items():
        print(f"--- {name}", flush=True)
        if call(python, "-m", *command) != 0:
            failed.append(name)
    print("Failed: " + ", ".join(failed) if failed else "All checks passed.")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    commands = {"demo": run_demo, "test": run_tests}
    if not arguments:
        return check()
    if arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if arguments[0] not in commands:
        print(f"install.py: unknown command {arguments[0]!r}; give none, demo or test.", file=sys.stderr)
        return 2
    try:
        return commands[arguments[0]](arguments[1:])
    except InstallError as error:
        print(f"install.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"install.py: {error}.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

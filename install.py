"""Check the pack, or set it up for its demo or its tests.

    python install.py              check Python, packages and weights, and install nothing (ComfyUI-Manager runs this)
    python install.py demo         make `.venv` with pinned packages and run the demo
    python install.py test [ARGS]  the same with the test tools: run ruff, mypy and pytest (which gets ARGS)
    python install.py lint         run ruff and mypy alone
    python install.py pytest [ARGS]
                                   run pytest alone

Without arguments the exit status is 0 if the pack can run, and 1 if something is missing; ComfyUI-Manager then reports
that the installation failed and shows what was printed. Standard library only.
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
"""The Python version that the pinned requirements were tested with; newer ones may work, older ones do not."""

PACKAGES = {
    "torch": ("torch", "2.4"),
    "numpy": ("numpy", "1.26"),
    "PIL": ("pillow", "10.3"),
    "safetensors": ("safetensors", "0.4.3"),
    "transformers": ("transformers", "4.50.3"),
    "tqdm": ("tqdm", "4.60"),
    "psutil": ("psutil", "5.9"),
}
"""Import name -> (package name, oldest version that works). ComfyUI requires all of them."""

REQUIREMENTS = {
    "demo": ("requirements/runtime.txt",),
    "test": (
        "requirements/runtime.txt",
        "requirements/train.txt",
        "requirements/archive.txt",
        "requirements/bench.txt",
        "requirements/test.txt",
    ),
}
"""Requirement files by purpose, besides `TORCH`, which comes first."""

TORCH = "requirements/torch.txt"

STAMP = "mofe-requirements.json"
"""File in an environment with the digests of the requirement files that were installed there."""

MADE_HERE = "mofe-made-by-install.py"
"""File in every environment that this program made; an environment without it is the user's and is never cleared."""

UNFINISHED = "mofe-unfinished"
"""File in an environment of this program while packages are installed there."""


class InstallError(RuntimeError):
    """Setting up the environment failed; the message is a sentence for the user."""


# Checks -------------------------------------------------------------------------------------------------------------


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "2.13.0+cpu" -> (2, 13, 0), "3.0rc1" -> (3, 0)."""
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
    """Return a sentence for each package that is missing or too old, without importing any."""
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
            continue  # installed in a way that records no version; it can be imported, which is enough
        if numbers(version) < numbers(oldest):
            problems.append(f"{package} {version} is too old: {oldest} or newer is needed, so update ComfyUI.")
    return problems


def safetensors_problem(path: Path) -> str | None:
    """Return what is wrong with a safetensors file, judged by its header and its size, or None."""
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
    """Return a sentence for each file of the list `SHA256SUMS` in `folder` that is missing or damaged."""
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
    """Print what is missing; return 0 if the pack can run, else 1."""
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
    """Return the path of an environment's interpreter, which need not exist."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def call(*command: str | Path) -> int:
    """Run a command in the pack's folder and return its exit status."""
    # every caller passes the path of a Python interpreter and its arguments; no shell reads them
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode  # noqa: S603


def answer_of(python: str | Path, code: str) -> str | None:
    """Return what an interpreter prints when it runs a line of code, or None if it fails."""
    try:
        # the callers pass the path of an interpreter and fixed code
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def version_of(python: str | Path) -> tuple[int, int] | None:
    """Return the version of an interpreter, or None if it does not run."""
    answer = answer_of(python, "import sys; print(*sys.version_info[:2])")
    if answer is None:
        return None
    major, minor = answer.split()[:2]
    return int(major), int(minor)


def has_pip(python: str | Path) -> bool:
    """Return whether an interpreter has pip; environments made by uv have none."""
    return answer_of(python, "import pip") is not None


def find_python() -> str:
    """Return the interpreter to make `.venv` with: the pinned version if there is one, else this one if it is newer.

    Raises:
        InstallError: There is none.
    """
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
    """Return file name -> SHA-256 of each requirement file that a purpose needs, and of pyproject.toml."""
    files = (TORCH, *REQUIREMENTS[purpose], "pyproject.toml")
    return {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in files}


def read_stamp(environment: Path) -> dict[str, str]:
    """Return the stamp of an environment (see `wanted_stamp`); empty if it has none that can be read."""
    try:
        stamp = json.loads((environment / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def prepare(purpose: str, environment: Path = ROOT / ".venv") -> Path:
    """Install what a purpose needs into an environment, unless it has that already, and return its interpreter.

    An environment of this program that is unfinished or does not run is made again. One that the user made is kept and
    filled, or refused if it does not run, but never cleared.

    Args:
        purpose: A key of `REQUIREMENTS`.
        environment: The folder of the environment.

    Raises:
        InstallError: The environment cannot be made or filled.
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
    """Make a new environment; the file `MADE_HERE` comes first, so that an interrupted attempt has it, too.

    Raises:
        InstallError: The environment cannot be made.
    """
    print(f"Making {environment.name} ...", flush=True)
    if environment.exists():
        shutil.rmtree(environment)
    environment.mkdir(parents=True)
    (environment / MADE_HERE).touch()
    (environment / UNFINISHED).touch()
    if call(find_python(), "-m", "venv", environment) != 0:
        raise InstallError(f"{environment} could not be made: is the venv module of Python installed?")


def run_demo(arguments: list[str]) -> int:
    """Run the demo."""
    python = prepare("demo")
    return call(python, "-m", "mofe_restore.cli", "demo", *arguments)


LINTERS = {
    "ruff check": ("ruff", "check", "."),
    "ruff format": ("ruff", "format", "--check", "."),
    "mypy": ("mypy",),
}


def link_package(environment: Path = ROOT / ".venv") -> None:
    """Link this folder under the package's name into `environment`, where mypy finds it (pyproject.toml, mypy_path)."""
    link = environment / "typing" / "mofe_restore"
    if link.exists():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(ROOT, target_is_directory=True)
    except OSError as error:
        raise InstallError(
            f"{link} could not be linked to this folder ({error.strerror}), which mypy needs: on Windows turn on the "
            "developer mode."
        ) from error


def run_lint(arguments: list[str]) -> int:
    """Run the linters."""
    python = prepare("test")
    link_package()
    return run_steps(python, LINTERS)


def run_pytest(arguments: list[str]) -> int:
    """Run pytest alone."""
    return run_steps(prepare("test"), {"pytest": ("pytest", *arguments)})


def run_tests(arguments: list[str]) -> int:
    """Run the linters and the tests."""
    python = prepare("test")
    link_package()
    return run_steps(python, {**LINTERS, "pytest": ("pytest", *arguments)})


def run_steps(python: Path, steps: dict[str, tuple[str, ...]]) -> int:
    """Run every step, even if one fails; return 0 if all passed, else 1."""
    failed = []
    for name, command in steps.items():
        print(f"--- {name}", flush=True)
        if call(python, "-m", *command) != 0:
            failed.append(name)
    print("Failed: " + ", ".join(failed) if failed else "All checks passed.")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """Run a command, or the check if there is none, and return the exit status."""
    commands = {"demo": run_demo, "test": run_tests, "lint": run_lint, "pytest": run_pytest}
    if not arguments:
        return check()
    if arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if arguments[0] not in commands:
        print(f"install.py: unknown command {arguments[0]!r}; give none, demo, test, lint or pytest.", file=sys.stderr)
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

"""Paths of models: the shipped weights, and every folder that ComfyUI knows (`extra_model_paths.yaml` included).

A name in a prompt is never used as a path: it is looked up again among the choices.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import folder_paths

log = logging.getLogger(__name__)

SHIPPED = "shipped default"
RESTORER_FOLDER = "mofe"
MLLM_FOLDERS = ("LLM", "mllm")
SUFFIX = ".safetensors"
ADAPTER_FOLDER = "adapters"
"""Folder of adapters below those of restorers."""
DEPTH = 3
"""Levels below a root at which MLLM folders are found, as in models/LLM/owner/name."""


def register_folders() -> None:
    """Add the pack's model folders to those of ComfyUI; what is registered under these names already is kept."""
    for name in (RESTORER_FOLDER, *MLLM_FOLDERS):
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
    extensions = folder_paths.folder_names_and_paths[RESTORER_FOLDER][1]
    if isinstance(extensions, set) and not extensions:
        extensions.add(SUFFIX)  # an empty set would list every file there


def restorer_choices() -> list[str]:
    """Return the names that Load MoFE Restorer offers."""
    files = [name for name in folder_paths.get_filename_list(RESTORER_FOLDER) if _is_restorer(name)]
    roots = [Path(root) for root in folder_paths.get_folder_paths(RESTORER_FOLDER)]
    for name in files:
        _warn_of_copies(name, [root / name for root in roots if (root / name).is_file()])
    return [SHIPPED, *files]


def adapter_folders() -> list[Path]:
    """Return the folders of adapters, that of the first root, where new ones are put, first."""
    return [Path(root) / ADAPTER_FOLDER for root in folder_paths.get_folder_paths(RESTORER_FOLDER)]


def _is_restorer(name: str) -> bool:
    return name.lower().endswith(SUFFIX) and Path(name.replace("\\", "/")).parts[0] != ADAPTER_FOLDER


def restorer_path(name: str) -> Path:
    """Return the weight file of a name.

    Raises:
        FileNotFoundError: The name is not among the choices, or not any more.
    """
    if name == SHIPPED:
        from ..model.weights import SHIPPED_RESTORER

        return SHIPPED_RESTORER
    path = folder_paths.get_full_path(RESTORER_FOLDER, name) if name in restorer_choices() else None
    if path is None:
        raise FileNotFoundError(_missing("restorer file", name, folder_paths.get_folder_paths(RESTORER_FOLDER)))
    return Path(path)


def restorer_mllms() -> set[str]:
    """Return the identities of the MLLMs with which the restorers were trained, that of the shipped one included."""
    from ..model.errors import WeightFileError
    from ..model.weights import read_card

    found = set()
    for name in restorer_choices():
        try:
            found.add(read_card(restorer_path(name), "restorer").mllm_identity)
        except (WeightFileError, FileNotFoundError):
            continue  # said when it is chosen
    return found - {""}


def mllm_choices() -> list[str]:
    """Return the names that Load MLLM offers."""
    return [SHIPPED, *sorted(_mllm_folders())]


def mllm_path(name: str) -> Path:
    """Return the model folder of a name.

    Raises:
        FileNotFoundError: The name is not among the choices, or not any more.
    """
    if name == SHIPPED:
        from ..model.weights import SHIPPED_MLLM

        return SHIPPED_MLLM
    folders = _mllm_folders()
    if name not in folders:
        raise FileNotFoundError(_missing("MLLM folder", name, _mllm_roots()))
    return folders[name]


def mllm_of_identity(identity: str) -> Path | None:
    """Return the model folder with an identity, the shipped one first, or None."""
    from ..model.mllm.loading import identity_of
    from ..model.weights import SHIPPED_MLLM

    for folder in (SHIPPED_MLLM, *_mllm_folders().values()):
        try:
            if identity_of(folder) == identity:
                return folder
        except (OSError, ValueError):
            continue  # a folder that is no model
    return None


def fingerprint(path: Path, *settings: str) -> str:
    """Return a digest that changes when the file, or a file in the folder, is replaced.

    Not the path itself: the fingerprint is stored with saved images.
    """
    digest = hashlib.sha256(repr((str(path), *settings)).encode())
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            state = file.stat()
            digest.update(repr((file.name, state.st_mtime_ns, state.st_size)).encode())
    return digest.hexdigest()


def warn_of_two_packs(first: type | None, folder: Path) -> None:
    """Warn that the pack is installed in two folders, of which ComfyUI uses the one that it loads last.

    Args:
        first: The class that is registered for a node of the pack already, if any.
        folder: Of the copy that is being loaded.
    """
    module = sys.modules.get(getattr(first, "__module__", ""))
    other = getattr(module, "__file__", None)
    if other is not None and (place := Path(other).parents[1]) != folder:
        log.warning(
            "MoFE Restore is installed twice, in %s and in %s: the second one is used. Remove one of them.",
            place,
            folder,
        )


_warned: set[str] = set()
"""Names of models of which there are two; the lists are made anew whenever the front end asks."""


def _warn_of_copies(name: str, places: list[Path]) -> None:
    different = {place.resolve() for place in places}
    if len(different) > 1 and name not in _warned:
        _warned.add(name)
        log.warning("There are two models %r: %s is used, %s is not. Rename one of them.", name, *places[:2])


def _mllm_roots() -> list[str]:
    return [root for name in MLLM_FOLDERS for root in folder_paths.get_folder_paths(name)]


def _mllm_folders() -> dict[str, Path]:
    """Return model folders by their name relative to the root; of two with the same name, that of the first root."""
    found: dict[str, list[Path]] = {}
    for root in map(Path, _mllm_roots()):
        for folder in _model_folders(root, DEPTH):
            found.setdefault(folder.relative_to(root).as_posix(), []).append(folder)
    for name, folders in found.items():
        _warn_of_copies(name, folders)
    return {name: folders[0] for name, folders in found.items()}


def _model_folders(parent: Path, depth: int) -> Iterator[Path]:
    """Yield the model folders below `parent`, down to `depth` levels."""
    try:
        entries = sorted(os.scandir(parent), key=lambda entry: entry.name)
    except OSError:
        return  # the root does not exist or may not be read
    for entry in entries:
        folder = parent / entry.name
        try:
            is_folder = entry.is_dir() and not entry.name.startswith(".")
            is_model = is_folder and (folder / "config.json").is_file()
        except OSError:
            continue  # a folder that may not be entered, such as lost+found
        if is_model:
            yield folder
        elif is_folder and depth > 1:
            yield from _model_folders(folder, depth - 1)


def _missing(what: str, name: str, roots: Iterable[str]) -> str:
    return f"There is no {what} {name!r} in {' or '.join(roots)}: put it there and press R, or choose another."

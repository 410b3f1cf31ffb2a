"""`mofe mllm download`: fetch a model folder from the Hugging Face hub, when the user asks for it and only then."""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..model.atomic import write_text
from ..model.errors import CommandError
from .common import Parser, add_command, prepare_output_folder

WANTED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
"""Files of a repository that are fetched: weights as safetensors, settings and the tokenizer. No code, no pickles."""

SOURCE_FILE = "mofe_source.json"
"""Names the repository and the revision from which a folder came."""

LAST = "config.json"
"""Fetched last, since a folder with this file counts as a model."""


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    parser = commands.add_parser("mllm", help="Fetch a vision language model from the Hugging Face hub.")
    actions = parser.add_subparsers(title="what", required=True, metavar="WHAT", parser_class=Parser)
    download = add_command(actions, "download", run, "Fetch a model's safetensors, settings and tokenizer.")
    download.add_argument("repo", metavar="REPO", help="such as Qwen/Qwen3-VL-4B-Instruct")
    download.add_argument("--revision", metavar="REV", help="branch, tag or commit (default: the newest)")
    download.add_argument(
        "--to", type=Path, default=Path("models/LLM"), metavar="DIR", help="folder of model folders (models/LLM)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", args.repo):
        raise CommandError(f"{args.repo!r} is not the name of a repository: write it as owner/name.")
    folder = args.to / args.repo
    prepare_output_folder(folder, "--to")
    revision, names = _listing(args.repo, args.revision)
    chosen = wanted(names)
    _check_complete(args.repo, chosen)
    _fetch(args.repo, revision, chosen, folder)
    write_text(folder / SOURCE_FILE, json.dumps({"repository": args.repo, "revision": revision}, indent=2) + "\n")
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    print(f"{folder}\nAlign it once, so that it can guide: mofe align --mllm {folder} --photos DIR")
    return 0


def wanted(names: Sequence[str]) -> list[str]:
    """Return the files to fetch, of those at the top of a repository, `LAST` at the end."""
    top = [name for name in names if "/" not in name and any(fnmatch.fnmatch(name, pattern) for pattern in WANTED)]
    return sorted(top, key=lambda name: (name == LAST, name))


def _listing(repo: str, revision: str | None) -> tuple[str, list[str]]:
    """Return the commit of a revision, and the names of its files."""
    from huggingface_hub import HfApi

    try:
        found = HfApi(endpoint=os.environ.get("HF_ENDPOINT")).model_info(repo, revision=revision)
    except Exception as error:
        raise _trouble(repo, error) from error
    return str(found.sha), [sibling.rfilename for sibling in found.siblings or ()]


def _fetch(repo: str, revision: str, names: Sequence[str], folder: Path) -> None:
    """Fetch files; what an earlier, interrupted run has fetched is kept."""
    from huggingface_hub import hf_hub_download

    for name in names:
        try:
            hf_hub_download(repo, name, revision=revision, local_dir=folder, endpoint=os.environ.get("HF_ENDPOINT"))
        except Exception as error:
            raise _trouble(repo, error) from error


def _check_complete(repo: str, names: Sequence[str]) -> None:
    if LAST not in names or not any(name.endswith(".safetensors") for name in names):
        raise CommandError(
            f"{repo} holds no model with {LAST} and .safetensors weights: other formats are not opened, choose another "
            "repository."
        )


def _trouble(repo: str, error: Exception) -> CommandError:
    """Return an error of the hub's client as a sentence; its classes differ between versions."""
    reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return CommandError(
        f"{repo} cannot be fetched ({type(error).__name__}: {reason}): check the name and the connection; what is "
        "there is kept, and the same command goes on from there."
    )

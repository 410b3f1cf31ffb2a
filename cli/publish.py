"""`mofe publish`: put the shipped weights into a repository of the Hugging Face hub, for maintainers."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from ..model.errors import CommandError
from .common import add_command


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    parser = add_command(commands, "publish", run, "Put the shipped weights into a repository of the Hugging Face hub.")
    parser.add_argument("--to", required=True, metavar="REPO", help="owner/name; made if it does not exist")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder of weights (default: the shipped ones)")
    parser.add_argument("--message", default="Update the weights", help="of the commit")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", args.to):
        raise CommandError(f"{args.to!r} is not the name of a repository: write it as owner/name.")
    from huggingface_hub import HfApi

    from ..model.mllm.loading import identity_of
    from ..model.weights import SHIPPED_MLLM, read_card

    weights = args.weights or SHIPPED_MLLM.parent
    card = read_card(weights / "restorer" / "model.safetensors", "restorer")
    identity = identity_of(weights / SHIPPED_MLLM.name)
    if card.mllm_identity != identity:
        raise CommandError(
            f"The restorer in {weights} was trained with the MLLM {card.mllm_identity}, not with {identity} beside it: "
            "publish weights that belong together."
        )
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.create_repo(args.to, exist_ok=True)
        api.upload_folder(repo_id=args.to, folder_path=weights, commit_message=args.message)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise CommandError(
            f"The weights cannot be put into {args.to} ({type(error).__name__}: {reason}): log in with hf auth login, "
            "or set HF_TOKEN."
        ) from error
    print(f"{args.to}: {weights}")
    return 0

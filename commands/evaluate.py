"""`mofe evaluate`: the measurements of the trained networks, printed as tables and written as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .shared import make_json_folder, open_session, write_json

if TYPE_CHECKING:
    from ..session import Session


def _show(result: Any, args: argparse.Namespace) -> int:
    print(result.to_markdown())
    write_json(args.json, json.loads(result.to_json()))
    return 0


def _progress_bar() -> Callable[[int, int], None]:
    """A progress bar over the pictures of an evaluation, where somebody watches."""
    from tqdm import tqdm

    bar = tqdm(unit="picture", disable=not sys.stderr.isatty(), leave=False)

    def on_progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return on_progress


def _restorer_of(session: Session) -> Callable[[Any], Any]:
    """Degraded [1, 3, H, W] to restored, with guidance where the session has it; descriptions are not generated."""
    return lambda picture: session.restore(picture, session.guide(picture, with_text=False)).picture.cpu()


def run_composites(args: argparse.Namespace) -> int:
    make_json_folder(args.json)
    from ..training.evaluation import evaluate_composites

    restore = _restorer_of(open_session(args))
    result = evaluate_composites(restore, args.clean, seed=args.seed, limit=args.limit, on_progress=_progress_bar())
    return _show(result, args)


def run_denoising(args: argparse.Namespace) -> int:
    make_json_folder(args.json)
    from ..training.denoising import evaluate_denoising

    restore = _restorer_of(open_session(args))
    result = evaluate_denoising(restore, args.clean, seed=args.seed, limit=args.limit, on_progress=_progress_bar())
    return _show(result, args)


def run_pairs(args: argparse.Namespace) -> int:
    make_json_folder(args.json)
    from ..training.evaluation import evaluate_pairs

    restore = _restorer_of(open_session(args))
    return _show(evaluate_pairs(restore, args.folder, limit=args.limit, on_progress=_progress_bar()), args)


def run_descriptions(args: argparse.Namespace) -> int:
    make_json_folder(args.json)
    from ..training.evaluation import evaluate_descriptions

    session = open_session(args)
    result = evaluate_descriptions(
        lambda picture: session.describe(picture, with_text=False),
        args.clean,
        seed=args.seed,
        limit=args.limit,
        on_progress=_progress_bar(),
    )
    return _show(result, args)


def run_guidance(args: argparse.Namespace) -> int:
    make_json_folder(args.json)
    from ..training.evaluation import evaluate_guidance

    session = open_session(args)
    result = evaluate_guidance(
        lambda picture, guidance: session.restore(picture, guidance).picture.cpu(),
        lambda picture: session.guide(picture, with_text=False),
        args.clean,
        seed=args.seed,
        limit=args.limit,
        on_progress=_progress_bar(),
    )
    return _show(result, args)


def run_steering(args: argparse.Namespace) -> int:
    make_json_folder(args.json)
    from ..training.steering import evaluate_steering

    session = open_session(args)
    result = evaluate_steering(
        lambda picture, guidance: session.restore(picture, guidance).picture.cpu(),
        lambda picture: session.describe(picture, with_text=False),
        args.clean,
        seed=args.seed,
        limit=args.limit,
        on_progress=_progress_bar(),
    )
    return _show(result, args)

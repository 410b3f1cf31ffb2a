"""`mofe evaluate`: the measurements of the trained networks, printed as tables and written as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .shared import make_folder_of, open_session, write_json

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


def _measure(evaluate: Callable[..., Any], args: argparse.Namespace, *ways: Callable[..., Any]) -> int:
    """Runs an evaluation of ways to restore or describe on clean photographs, and shows what it gives."""
    return _show(evaluate(*ways, args.clean, seed=args.seed, limit=args.limit, on_progress=_progress_bar()), args)


def _guided_restorer_of(session: Session) -> Callable[[Any, Any], Any]:
    """Degraded [1, 3, H, W] and guidance to restored."""
    return lambda picture, guidance: session.restore(picture, guidance).picture.cpu()


def _describer_of(session: Session) -> Callable[[Any], Any]:
    """A picture to its guidance; descriptions are not generated."""
    return lambda picture: session.describe(picture, with_text=False)


def run_composites(args: argparse.Namespace) -> int:
    make_folder_of(args.json)
    from ..training.evaluation import evaluate_composites

    return _measure(evaluate_composites, args, _restorer_of(open_session(args)))


def run_denoising(args: argparse.Namespace) -> int:
    make_folder_of(args.json)
    from ..training.denoising import evaluate_denoising

    return _measure(evaluate_denoising, args, _restorer_of(open_session(args)))


def run_pairs(args: argparse.Namespace) -> int:
    make_folder_of(args.json)
    from ..training.evaluation import evaluate_pairs

    restore = _restorer_of(open_session(args))
    return _show(evaluate_pairs(restore, args.folder, limit=args.limit, on_progress=_progress_bar()), args)


def run_descriptions(args: argparse.Namespace) -> int:
    make_folder_of(args.json)
    from ..training.evaluation import evaluate_descriptions

    return _measure(evaluate_descriptions, args, _describer_of(open_session(args)))


def run_answers(args: argparse.Namespace) -> int:
    make_folder_of(args.json)
    from ..training.answers import evaluate_answers

    session = open_session(args)

    def ask(picture: Any, question: str) -> str:
        return session.mllm.describe(picture.to(session.device), instruction=question).descriptions[0]

    return _measure(evaluate_answers, args, ask)


def run_guidance(args: argparse.Namespace) -> int:
    make_folder_of(args.json)
    from ..training.evaluation import evaluate_guidance

    session = open_session(args)
    return _measure(evaluate_guidance, args, _guided_restorer_of(session), _describer_of(session))


def run_relations(args: argparse.Namespace) -> int:
    make_folder_of(args.json)
    make_folder_of(args.picture, "--picture")
    import functools

    import torch

    from ..training.relations import evaluate_relations

    session = open_session(args)

    def route(picture: Any, guidance: Any) -> Any:
        (blocks,) = session.restore(picture, guidance).routing.frames
        return torch.cat([block.weights for block in blocks])

    evaluate = functools.partial(evaluate_relations, picture=args.picture)
    return _measure(evaluate, args, _describer_of(session), route)


def run_steering(args: argparse.Namespace) -> int:
    make_folder_of(args.json)
    from ..training.steering import evaluate_steering

    session = open_session(args)
    return _measure(evaluate_steering, args, _guided_restorer_of(session), _describer_of(session))

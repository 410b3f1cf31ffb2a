"""`mofe evaluate`: measure the trained networks; tables on stdout, and as JSON."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.errors import CommandError
from .common import (
    Parser,
    add_command,
    guided_arguments,
    mllm_arguments,
    open_pipeline,
    prepare_output_file,
    restorer_arguments,
    whole_number,
    write_json,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ..model.guidance import Guidance
    from ..model.pipeline import RestorationPipeline


PUBLISHED = {
    "cdd11": "CDD-11 as its authors measure it, beside the field's numbers.",
    "three-tasks": "Haze, rain and noise as PromptIR measures them, beside the field's numbers.",
    "five-tasks": "These, blur and low light as AdaIR measures them, beside the field's numbers.",
    "live1": "JPEG of LIVE1 as FBCNN measures it, in RGB and in grey.",
}
"""The commands for published sets."""


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    parser = commands.add_parser("evaluate", help="Measure the trained networks.")
    kinds = parser.add_subparsers(title="what", required=True, metavar="WHAT", parser_class=Parser)
    guided, restorer, mllm = guided_arguments, restorer_arguments, mllm_arguments
    composites = add_command(kinds, "composites", run_composites, "PSNR and SSIM of the eleven combinations.", guided())
    denoising = add_command(kinds, "denoising", run_denoising, "PSNR and SSIM after Gaussian noise.", guided())
    jpeg = add_command(kinds, "jpeg", run_jpeg, "PSNR and SSIM after JPEG, once, twice and off the grid.", guided())
    blur = add_command(kinds, "blur", run_blur, "PSNR and SSIM after blur, with and without noise.", guided())
    pairs = add_command(kinds, "pairs", run_pairs, "PSNR and SSIM of real pairs of images.", guided())
    real = add_command(
        kinds, "real", run_real, "Real pairs, real degradations seen, good photographs kept.", restorer()
    )
    descriptions = add_command(
        kinds, "descriptions", run_descriptions, "Accuracy of the language model's scores.", mllm()
    )
    answers = add_command(kinds, "answers", run_answers, "Accuracy of the language model's yes and no.", mllm())
    guidance = add_command(kinds, "guidance", run_guidance, "What the guidance is worth to the restorer.", restorer())
    steering = add_command(
        kinds, "steering", run_steering, "Whether the restorer keeps what it is told to keep.", restorer()
    )
    relations = add_command(
        kinds, "relations", run_relations, "Whether similar images are seen and routed alike.", restorer()
    )
    published = []
    for board, text in PUBLISHED.items():
        published.append(add_command(kinds, board, run_published, text, guided()))
        published[-1].set_defaults(board=board)
    composites.add_argument(
        "--saved", type=whole_number(1, 99), metavar="QUALITY", help="save every degraded image as JPEG, 1 to 99"
    )
    align = add_command(kinds, "align", run_align, "What the guidance of aligned MLLMs is worth.", restorer())
    align.add_argument(
        "--foreign", type=Path, action="append", required=True, metavar="FOLDER", help="an aligned MLLM; repeat it"
    )
    align.add_argument(
        "--side", type=whole_number(64), default=0, metavar="PX", help="cut the middle out of each photo"
    )
    relations.add_argument("--picture", type=Path, metavar="FILE", help="draw the matrices of relations, a PNG")
    pairs.add_argument("folder", type=Path, metavar="DIR", help="degraded images and their originals")
    for command in published:
        command.add_argument(
            "folder", type=Path, metavar="DIR", help="the set, in the folders in which it is published"
        )
    real.add_argument("pairs", type=Path, metavar="DIR_PAIRS", help="holds <kind>/<split>/input/ and target/")
    real.add_argument("weak", type=Path, metavar="DIR_WEAK", help="holds <label>/<split>/, also of good photographs")
    real.add_argument("--split", default="val", metavar="NAME", help="folder of each kind and label (default: val)")
    seeded = (composites, denoising, blur, descriptions, answers, guidance, steering, relations, align)
    for command in (jpeg, *seeded):
        command.add_argument("--clean", type=Path, required=True, metavar="DIR", help="clean photographs")
    for command in seeded:
        command.add_argument("--seed", type=whole_number(0), default=0, help="of the degradations")
    for command in (jpeg, pairs, real, *published, *seeded):
        command.add_argument("--limit", type=whole_number(1), metavar="N", help="use the first N photographs only")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")


def run_composites(args: argparse.Namespace) -> int:
    """Run `mofe evaluate composites`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.composites import evaluate_composites

    evaluate = functools.partial(evaluate_composites, quality_saved=args.saved)
    return _measure(evaluate, args, _restorer(args))


def run_denoising(args: argparse.Namespace) -> int:
    """Run `mofe evaluate denoising`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.denoising import evaluate_denoising

    return _measure(evaluate_denoising, args, _restorer(args))


def run_jpeg(args: argparse.Namespace) -> int:
    """Run `mofe evaluate jpeg`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.jpeg import evaluate_jpeg

    restore = _restorer(args)
    return _show(evaluate_jpeg(restore, args.clean, limit=args.limit, on_progress=_progress_bar()), args)


def run_blur(args: argparse.Namespace) -> int:
    """Run `mofe evaluate blur`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.blur import evaluate_blur

    return _measure(evaluate_blur, args, _restorer(args))


def run_pairs(args: argparse.Namespace) -> int:
    """Run `mofe evaluate pairs`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.pairs import evaluate_pairs

    restore = _restorer(args)
    return _show(evaluate_pairs(restore, args.folder, limit=args.limit, on_progress=_progress_bar()), args)


def run_published(args: argparse.Namespace) -> int:
    """Run `mofe evaluate` of one of `PUBLISHED`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation import protocols

    pipe = open_pipeline(args)
    measured = {"limit": args.limit, "on_progress": _progress_bar()}
    if args.board == "live1":
        return _show(protocols.evaluate_live1(_restorer_of(pipe, args), args.folder, **measured), args)
    evaluate = {
        "cdd11": protocols.evaluate_cdd11,
        "three-tasks": protocols.evaluate_three_tasks,
        "five-tasks": protocols.evaluate_five_tasks,
    }[args.board]
    millions = sum(parameter.numel() for parameter in pipe.restorer.parameters()) / 1e6
    return _show(evaluate(_restorer_of(pipe, args), args.folder, parameters=millions, **measured), args)


def run_real(args: argparse.Namespace) -> int:
    """Run `mofe evaluate real`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.real import evaluate_real

    pipe = open_pipeline(args)
    # the order needs the guidance of the image that was described last; tensors are told apart by identity
    describe = functools.lru_cache(maxsize=1)(_describer(pipe))

    def restore_ordered(image: Tensor, kind: str) -> Tensor:
        return pipe(image, describe(image).removing_only({kind: 1.0})).image.cpu()

    result = evaluate_real(
        _guided_restorer(pipe),
        describe,
        restore_ordered,
        args.pairs,
        args.weak,
        split=args.split,
        limit=args.limit,
        on_progress=_progress_bar(),
    )
    return _show(result, args)


def run_descriptions(args: argparse.Namespace) -> int:
    """Run `mofe evaluate descriptions`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.descriptions import evaluate_descriptions

    return _measure(evaluate_descriptions, args, _describer(open_pipeline(args)))


def run_answers(args: argparse.Namespace) -> int:
    """Run `mofe evaluate answers`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.answers import evaluate_answers

    pipe = open_pipeline(args)

    def ask(image: Tensor, question: str) -> str:
        return pipe.describe(image, instruction=question).descriptions[0]

    return _measure(evaluate_answers, args, ask)


def run_guidance(args: argparse.Namespace) -> int:
    """Run `mofe evaluate guidance`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.guidance import evaluate_guidance

    pipe = open_pipeline(args)
    return _measure(evaluate_guidance, args, _guided_restorer(pipe), _describer(pipe))


def run_align(args: argparse.Namespace) -> int:
    """Run `mofe evaluate align`; return the exit status."""
    prepare_output_file(args.json)
    from ..model.pipeline import RestorationPipeline
    from ..training.evaluation.align import OWN, evaluate_align

    pipe = open_pipeline(args)
    describers = {OWN: _describer(pipe)}
    for folder in args.foreign:
        foreign = RestorationPipeline.from_pretrained(
            args.restorer, folder, precision=args.precision, adapters=args.adapters
        )
        if foreign.mllm.adapter is None:
            raise CommandError(f"{folder} is not aligned with this restorer: run mofe align --mllm {folder} first.")
        describers[folder.parent.parent.name if folder.name == "mllm" else folder.name] = _describer(foreign)
    return _measure(functools.partial(evaluate_align, side=args.side), args, _guided_restorer(pipe), describers)


def run_relations(args: argparse.Namespace) -> int:
    """Run `mofe evaluate relations`; return the exit status."""
    prepare_output_file(args.json)
    prepare_output_file(args.picture, "--picture")
    import torch

    from ..training.evaluation.relations import evaluate_relations

    pipe = open_pipeline(args)

    def route(image: Tensor, guidance: Guidance) -> Tensor:
        (blocks,) = pipe(image, guidance, threshold=0.0).routing.frames
        return torch.cat([block.weights for block in blocks])

    return _measure(functools.partial(evaluate_relations, plot=args.picture), args, _describer(pipe), route)


def run_steering(args: argparse.Namespace) -> int:
    """Run `mofe evaluate steering`; return the exit status."""
    prepare_output_file(args.json)
    from ..training.evaluation.steering import evaluate_steering

    pipe = open_pipeline(args)
    return _measure(evaluate_steering, args, _guided_restorer(pipe), _describer(pipe))


def _restorer(args: argparse.Namespace) -> Callable[[Tensor], Tensor]:
    """Return a function from degraded [1, 3, H, W] to restored, guided unless the arguments say otherwise."""
    return _restorer_of(open_pipeline(args), args)


def _restorer_of(pipe: RestorationPipeline, args: argparse.Namespace) -> Callable[[Tensor], Tensor]:
    """Return the same of models that are open."""
    return lambda image: pipe(image, None if args.no_guidance else "auto").image.cpu()


def _guided_restorer(pipe: RestorationPipeline) -> Callable[[Tensor, Guidance | None], Tensor]:
    """Return a function from degraded [1, 3, H, W] and guidance to restored."""
    return lambda image, guidance: pipe(image, guidance).image.cpu()


def _describer(pipe: RestorationPipeline) -> Callable[[Tensor], Guidance]:
    """Return a function from an image to its guidance, without descriptions."""
    return lambda image: pipe.describe(image, with_text=False)


def _measure(evaluate: Callable[..., Any], args: argparse.Namespace, *functions: Any) -> int:
    """Evaluate functions that restore or describe on clean photographs, and show the result."""
    return _show(evaluate(*functions, args.clean, seed=args.seed, limit=args.limit, on_progress=_progress_bar()), args)


def _show(result: Any, args: argparse.Namespace) -> int:
    print(result.to_markdown())
    write_json(args.json, json.loads(result.to_json()))
    return 0


def _progress_bar() -> Callable[[int, int], None]:
    """Return a progress bar over the images of an evaluation, shown on terminals."""
    from tqdm import tqdm

    bar = tqdm(unit="image", disable=not sys.stderr.isatty(), leave=False)

    def on_progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return on_progress

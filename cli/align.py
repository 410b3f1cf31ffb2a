"""`mofe align`: make the adapter with which another vision language model guides the restorer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..model.errors import CommandError
from .common import add_command, prepare_output_file, print_error, whole_number

TEXT = "Let a vision language model of your own guide the restorer: fit an adapter, once per model."


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    parser = add_command(commands, "align", run, TEXT)
    parser.add_argument("--mllm", type=Path, required=True, metavar="FOLDER", help="folder of the language model")
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="clean photographs, the more the better (default: those of the demo)"
    )
    parser.add_argument(
        "--real", type=Path, metavar="DIR", help="real degraded photographs, which are looked at as they are"
    )
    parser.add_argument(
        "--pictures", type=whole_number(16), default=400, metavar="N", help="degraded pictures to look at (400)"
    )
    parser.add_argument("--restorer", type=Path, metavar="FILE", help="weights of the restorer (default: the shipped)")
    parser.add_argument(
        "--guide", type=Path, metavar="FOLDER", help="the language model of that restorer (default: the shipped)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the adapter (default: where it is found)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="of the model")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the degradations")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    if args.output is not None and args.output.suffix != ".safetensors":
        raise CommandError(f"{args.output} must end with .safetensors: give -o the name of such a file.")
    prepare_output_file(args.output, "-o")
    from tqdm import tqdm

    from ..model.align.pictures import photos_in
    from ..model.align.run import AlignSettings, align
    from ..model.mllm.adapter import default_folder, file_name, write_adapter
    from ..model.mllm.loading import load_mllm
    from ..model.pipeline import best_device
    from ..model.restorer.loading import load_restorer
    from ..model.weights import SHIPPED_MLLM, SHIPPED_RESTORER

    photos = photos_in(args.photos)
    real = () if args.real is None else photos_in(args.real)
    device = best_device()
    restorer, _ = load_restorer(args.restorer or SHIPPED_RESTORER)
    guide = load_mllm(args.guide or SHIPPED_MLLM, device)
    mllm = load_mllm(args.mllm, device, args.precision)
    output = args.output or default_folder() / file_name(mllm.identity, guide.identity)
    output.parent.mkdir(parents=True, exist_ok=True)
    kept = output.parent / ".align"
    bar = tqdm(unit="picture", disable=not sys.stderr.isatty(), leave=False)

    def on_progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        aligned = align(
            mllm,
            guide,
            restorer.to(device),
            photos,
            AlignSettings(pictures=args.pictures, seed=args.seed),
            real=real,
            keep=kept,
            on_progress=on_progress,
        )
    except KeyboardInterrupt:
        bar.close()
        print_error(f"Stopped: what was looked at is kept in {kept}, and the same command goes on from there.")
        return 130
    bar.close()
    write_adapter(output, aligned.adapter, aligned.card)
    print(f"{output}\n{summary(aligned.card.metrics)}")
    return 0


def summary(metrics: dict[str, Any]) -> str:
    """Return the measured results of an adapter's card as a sentence."""
    quality = metrics["psnr"]
    return (
        f"On pictures that the fit has not seen: presence F1 {metrics['f1']:.2f}, restored {quality['aligned']:.2f} dB "
        f"with this guidance, {quality['own']:.2f} dB with the restorer's own model, {quality['none']:.2f} dB without."
    )

"""The `mofe` command.

Everything heavy is imported inside the commands, so that `mofe --help` answers at once. Bad input ends in one sentence
on stderr and a status other than 0; a traceback means a defect of ours.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .model.guidance import Guidance
    from .session import Session

EXTRAS = {
    "standalone": ("torch", "numpy", "PIL", "safetensors", "transformers", "tqdm", "psutil"),
    "train": ("accelerate", "torchmetrics", "matplotlib", "lightning_utilities", "tomli"),
}
"""Which extra of the package brings which modules; where one is missing, the user learns that."""


class CommandError(ValueError):
    """Something wrong with what was asked; the message is one sentence for the user."""


# Arguments ----------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def _tile(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} px is no tile size: give 0 (automatic) or a number above 0")
    return value


def _strength(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` in its result is the command's function."""
    parser = _Parser(prog="mofe", description="Repairs photographs that suffer from several degradations at once.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    models = argparse.ArgumentParser(add_help=False)
    group = models.add_argument_group("models")
    group.add_argument(
        "--mllm", type=Path, metavar="FOLDER", help="folder of the language model (default: the shipped)"
    )
    group.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of the computation")
    restorers = argparse.ArgumentParser(add_help=False, parents=[models])
    restorers.add_argument(
        "--restorer", type=Path, metavar="FILE", help="weights of the restorer (default: the shipped)"
    )
    guided = argparse.ArgumentParser(add_help=False, parents=[restorers])
    guided.add_argument("--no-guidance", action="store_true", help="restore without the language model")

    def add(group: Any, name: str, run: Callable[..., int], text: str, *parents: argparse.ArgumentParser) -> Any:
        command = group.add_parser(name, help=text, description=text, parents=list(parents))
        command.set_defaults(run=run)
        return command

    restore = add(commands, "restore", _restore, "Restore pictures, each to DIR/<name>.png.", guided)
    restore.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    restore.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="made if it does not exist")
    restore.add_argument("--tile", type=_tile, default=0, metavar="N", help="tile size in px; 0 (default) = automatic")
    restore.add_argument(
        "--strength", type=_strength, default=1.0, metavar="S", help="0 = unchanged, 1 (default) = full"
    )
    restore.add_argument("--mask", type=Path, metavar="FILE", help="picture of the same size: white = restore")
    restore.add_argument("--json", type=Path, metavar="FILE", help="write what was seen and which experts worked")

    describe = add(commands, "describe", _describe, "Say what is wrong with pictures.", models)
    describe.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    describe.add_argument("--json", type=Path, metavar="FILE", help="write descriptions and scores (0.5 = present)")

    train = add(commands, "train", _train, "Train one of the two networks; goes on where an earlier run stopped.")
    train.add_argument("what", choices=("mllm", "restorer"))
    train.add_argument("--config", type=Path, required=True, metavar="FILE", help="the run's TOML file")

    evaluate = commands.add_parser("evaluate", help="Measure the trained networks.")
    kinds = evaluate.add_subparsers(title="what", required=True, metavar="WHAT", parser_class=_Parser)
    composites = add(kinds, "composites", _evaluate_composites, "PSNR and SSIM of the eleven combinations.", guided)
    pairs = add(kinds, "pairs", _evaluate_pairs, "PSNR and SSIM of real pairs of pictures.", guided)
    descriptions = add(kinds, "descriptions", _evaluate_descriptions, "How well the language model sees.", models)
    guidance = add(kinds, "guidance", _evaluate_guidance, "What the guidance is worth to the restorer.", restorers)
    pairs.add_argument("folder", type=Path, metavar="DIR", help="degraded pictures and their originals")
    for command in (composites, descriptions, guidance):
        command.add_argument("--clean", type=Path, required=True, metavar="DIR", help="clean photographs")
        command.add_argument("--seed", type=int, default=0, help="of the degradations")
    for command in (composites, pairs, descriptions, guidance):
        command.add_argument("--limit", type=_positive, metavar="N", help="use the first N photographs only")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")

    bench = add(commands, "bench", _bench, "Measure time and memory on this machine.", restorers)
    bench.add_argument("--runs", type=_positive, default=5, metavar="N", help="repetitions (default 5)")
    bench.add_argument("--no-large", action="store_true", help="leave out the 3840 x 2160 picture")

    demo = add(commands, "demo", _demo, "Degrade and restore the bundled photographs.", restorers)
    demo.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: demo_output in the current folder")
    return parser


# Helpers ------------------------------------------------------------------------------------------------------------


def _session(args: argparse.Namespace) -> Session:
    from .session import Session

    return Session(
        restorer=getattr(args, "restorer", None),
        mllm=args.mllm,
        precision=args.precision,
        guided=not getattr(args, "no_guidance", False),
    )


def _make_json_folder(path: Path | None) -> None:
    """Fails before the work, not after it, when the JSON cannot be written."""
    if path is None:
        return
    if path.is_dir():
        raise CommandError(f"{path} is a folder: give --json the name of a file.")
    path.parent.mkdir(parents=True, exist_ok=True)


def _write_json(path: Path | None, value: Any) -> None:
    """Writes a file whole or not at all."""
    if path is None:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _say(message: str) -> None:
    """One line on stderr, above the progress bar where there is one."""
    text = "mofe: " + " ".join(message.split())
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def _each(pictures: Sequence[Path], work: Callable[[Path], None]) -> int:
    """Does `work` for every picture and goes on after a bad one, which gets its sentence. The exit status."""
    from tqdm import tqdm

    from .model.pipeline import RestorationError
    from .pictures import PictureError

    failed = 0
    hide = len(pictures) == 1 or not sys.stderr.isatty()
    for path in tqdm(pictures, unit="picture", disable=hide):
        try:
            work(path)
        except (PictureError, RestorationError) as error:
            failed += 1
            text = str(error)
            _say(text if str(path) in text else f"{path}: {text}")
    return 1 if failed else 0


def _scores(guidance: Guidance) -> dict[str, float]:
    from .model.guidance import DEGRADATIONS

    return dict(zip(DEGRADATIONS, (round(score, 4) for score in guidance.scores[0].tolist()), strict=True))


# Commands -----------------------------------------------------------------------------------------------------------


def _plan_outputs(pictures: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Input -> output, refusing before any work what would write a file twice or over an input."""
    outputs: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    inputs = {path.resolve() for path in pictures}
    for path in pictures:
        output = folder / f"{path.stem}.png"
        earlier = taken.setdefault(path.stem.casefold(), path)
        if earlier is not path:
            raise CommandError(f"{earlier} and {path} would both become {output}: restore them to different folders.")
        if output.resolve() in inputs:
            raise CommandError(
                f"{output} is one of the inputs and would be overwritten: choose another folder with -o."
            )
        outputs[path] = output
    return outputs


def _restore(args: argparse.Namespace) -> int:
    outputs = _plan_outputs(args.pictures, args.output)
    from .pictures import PictureError, read_mask, read_picture, write_picture

    mask = read_mask(args.mask) if args.mask else None
    _make_json_folder(args.json)
    args.output.mkdir(parents=True, exist_ok=True)
    session = _session(args)
    results: list[dict[str, Any]] = []

    def restore(path: Path) -> None:
        picture = read_picture(path)
        height, width = picture.pixels.shape[2:]
        if mask is not None and mask.shape[1:] != (height, width):
            raise PictureError(
                f"{path} is {width} x {height} px but the mask {args.mask} is {mask.shape[2]} x {mask.shape[1]}: "
                "they must have the same size."
            )
        if picture.note:
            _say(f"Note on {path}: {picture.note}.")
        guidance = session.guide(picture.rgb, with_text=args.json is not None)
        restoration = session.restore(
            picture.pixels, guidance, strength=args.strength, mask=mask, tile=args.tile, on_tile=_tile_bar(path)
        )
        write_picture(outputs[path], restoration.picture, depth=picture.depth, profile=picture.profile)
        results.append(
            {
                "file": str(path),
                "output": str(outputs[path]),
                "width": width,
                "height": height,
                "description": guidance.descriptions[0] if guidance else None,
                "scores": _scores(guidance) if guidance else None,
                "routing": [
                    {
                        "block": block.name,
                        "weights": [round(float(weight), 4) for weight in block.weights],
                        "edges": [round(float(edge), 4) for edge in block.edges],
                    }
                    for block in restoration.routing.frames[0]
                ],
            }
        )

    try:
        return _each(args.pictures, restore)
    finally:
        if results:  # also those from before a Ctrl-C
            _write_json(args.json, results)


def _tile_bar(path: Path) -> Callable[[int, int], None] | None:
    """A progress bar over the tiles of one picture, where somebody watches and there is more than one tile."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar: Any = None

    def on_tile(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and total > 1:
            bar = tqdm(total=total, desc=path.name, unit="tile", leave=False)
        if bar is not None:
            bar.total = total  # smaller tiles after an out-of-memory
            bar.update(done - bar.n)
            if done >= total:
                bar.close()

    return on_tile


def _describe(args: argparse.Namespace) -> int:
    _make_json_folder(args.json)
    from .pictures import read_picture

    session = _session(args)
    results: list[dict[str, Any]] = []

    def describe(path: Path) -> None:
        guidance = session.describe(read_picture(path).rgb)
        print(f"{path}: {guidance.descriptions[0]}", flush=True)
        results.append(
            {"file": str(path), "description": guidance.descriptions[0], "scores": _scores(guidance)},
        )

    try:
        return _each(args.pictures, describe)
    finally:
        if results:  # also those from before a Ctrl-C
            _write_json(args.json, results)


def _train(args: argparse.Namespace) -> int:
    if not args.config.is_file():
        raise CommandError(f"There is no file {args.config}: give --config the run's TOML file.")
    importlib.import_module(f".training.train_{args.what}", __package__).run(args.config)
    return 0


def _show(result: Any, args: argparse.Namespace) -> int:
    print(result.to_markdown())
    _write_json(args.json, json.loads(result.to_json()))
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


def _evaluate_composites(args: argparse.Namespace) -> int:
    _make_json_folder(args.json)
    from .training.evaluation import evaluate_composites

    restore = _restorer_of(_session(args))
    result = evaluate_composites(restore, args.clean, seed=args.seed, limit=args.limit, on_progress=_progress_bar())
    return _show(result, args)


def _evaluate_pairs(args: argparse.Namespace) -> int:
    _make_json_folder(args.json)
    from .training.evaluation import evaluate_pairs

    restore = _restorer_of(_session(args))
    return _show(evaluate_pairs(restore, args.folder, limit=args.limit, on_progress=_progress_bar()), args)


def _evaluate_descriptions(args: argparse.Namespace) -> int:
    _make_json_folder(args.json)
    from .training.evaluation import evaluate_descriptions

    session = _session(args)
    result = evaluate_descriptions(
        lambda picture: session.describe(picture, with_text=False),
        args.clean,
        seed=args.seed,
        limit=args.limit,
        on_progress=_progress_bar(),
    )
    return _show(result, args)


def _evaluate_guidance(args: argparse.Namespace) -> int:
    _make_json_folder(args.json)
    from .training.evaluation import evaluate_guidance

    session = _session(args)
    result = evaluate_guidance(
        lambda picture, guidance: session.restore(picture, guidance).picture.cpu(),
        lambda picture: session.guide(picture, with_text=False),
        args.clean,
        seed=args.seed,
        limit=args.limit,
        on_progress=_progress_bar(),
    )
    return _show(result, args)


def _bench(args: argparse.Namespace) -> int:
    from .bench import bench

    return bench(args.restorer, args.mllm, runs=args.runs, large=not args.no_large)


def _demo(args: argparse.Namespace) -> int:
    from .demo import demo

    return demo(_session(args), args.output or Path("demo_output"))


# Errors -------------------------------------------------------------------------------------------------------------


def _is_ours(error: BaseException) -> bool:
    """Whether an error was raised by this package's own code, and thus has a sentence written for the user."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    package = trace.tb_frame.f_globals.get("__package__") if trace is not None else None
    return package is not None and (package == __package__ or package.startswith(f"{__package__}."))


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turns errors that a user can mend into `SystemExit` after one sentence; defects pass through."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}.")
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        extra = next((extra for extra, modules in EXTRAS.items() if error.name in modules), None)
        if extra is None:
            raise
        _say(f'This command needs {error.name}, which comes with pip install "mofe-restore[{extra}]".')
        raise SystemExit(1) from None
    except ValueError as error:
        if not _is_ours(error):
            raise
        _say(str(error))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _say("Cancelled.")
        raise SystemExit(130) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 0 when it worked, 1 after bad input, 2 after wrong arguments, 130 after Ctrl-C."""
    try:
        args = build_parser().parse_args(argv)
        with _one_sentence():
            return args.run(args)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0


if __name__ == "__main__":
    sys.exit(main())

"""`mofe restore`: restore images, and report what was seen and which experts worked."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.errors import CommandError, ImageFileError
from ..model.formats.suffixes import FORMATS, QUALITY
from ..model.vocabulary import ACTION_THRESHOLD
from .common import (
    STANDARD,
    add_command,
    amounts,
    degradation_list,
    file_keys,
    for_each_file,
    guided_arguments,
    open_pipeline,
    prepare_output_file,
    prepare_output_folder,
    print_error,
    real_path,
    strength,
    whole_number,
    write_json,
)
from .inputs import Source, check_standard_input, find_sources, opened
from .manifest import NAME, Entry, Manifest, digest_of, read_manifest
from .video.suffixes import is_video, video_name
from .wishes import change_psnr, steer

if TYPE_CHECKING:
    from torch import Tensor

    from ..model.guidance import Guidance
    from ..model.image_files import ImageFile
    from ..model.inference.tiled import Restoration
    from ..model.pipeline import RestorationPipeline
    from .report.page import ReportPage


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    text = "Restore images and videos, each to DIR/<name>.png or .mp4; those of a folder keep their subfolders."
    parser = add_command(commands, "restore", run, text, guided_arguments())
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="file, folder, pattern, video or - (stdin)"
    )
    parser.add_argument(
        "--engine",
        choices=("plain", "ray"),
        default="plain",
        help="ray: whole archives on many cores and machines",
    )
    parser.add_argument("--address", metavar="ADDRESS", help="with ray: of a cluster (default: this machine alone)")
    parser.add_argument(
        "--actors", type=whole_number(1), metavar="N", help="with ray: how many (default: one per GPU, else per core)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="created if it does not exist; - for stdout"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="png", help="of the results (default: png)")
    parser.add_argument(
        "--quality", type=whole_number(1), metavar="N", help=f"of jpg and webp, 1 to 100 (default: {QUALITY})"
    )
    parser.add_argument(
        "--tile", type=whole_number(0), default=0, metavar="N", help="tile size in px; 0 (default) = automatic"
    )
    parser.add_argument("--strength", type=strength, default=1.0, metavar="S", help="0 = unchanged, 1 (default) = full")
    parser.add_argument(
        "--threshold",
        type=strength,
        default=ACTION_THRESHOLD,
        metavar="S",
        help=f"leave images alone in which no score reaches this and nothing is ordered (default: {ACTION_THRESHOLD}; "
        "0 = restore all)",
    )
    wishes = parser.add_mutually_exclusive_group()
    wishes.add_argument(
        "--remove",
        type=amounts(1.0),
        metavar="LIST",
        help="remove only these, seen or not, all or a share: such as rain,noise=0.5",
    )
    wishes.add_argument("--keep", type=degradation_list, metavar="LIST", help="remove all but these, such as haze")
    parser.add_argument(
        "--set",
        type=amounts(None),
        metavar="LIST",
        help="take these severities as seen, 0 to 1: such as noise=0.4,rain=0",
    )
    parser.add_argument("--mask", type=Path, metavar="FILE", help="image of the same size: white = restore")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write what was seen and which experts worked; - for stdout"
    )
    parser.add_argument(
        "--manifest", type=Path, metavar="FILE", help="append a line of JSON per image as soon as it is done"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write a page for a browser: every image before and after"
    )
    earlier = parser.add_mutually_exclusive_group()
    earlier.add_argument("--skip-existing", action="store_true", help="leave out images whose result is there")
    earlier.add_argument(
        "--resume",
        action="store_true",
        help=f"leave out images that the manifest (default: DIR/{NAME}) says are done with the same options",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    _check_wishes(args)
    _check_output(args)
    if args.engine == "ray":
        from .archive.ray_engine import run_archive

        _check_ray(args)
        return run_archive(args, options_of(args, open_pipeline(args)))
    if args.address or args.actors:
        raise CommandError("--address and --actors are for --engine ray: add it, or leave them out.")
    check_standard_input([*args.images, *([args.mask] if args.mask else [])])
    found = find_sources(args.images, results=args.output)
    if args.output == STANDARD and len(found.sources) != 1:
        raise CommandError(f"-o - writes one image, not {len(found.sources)}: name one, or a folder with -o.")
    sources = {source.path: source for source in found.sources}
    inputs = [*sources, *([args.mask] if args.mask else [])]
    if args.resume and args.manifest is None:
        args.manifest = args.output / NAME
    outputs = _plan_outputs(found.sources, args, inputs)
    if any(map(is_video, outputs)):
        import av  # noqa: F401  # before the work, not in the middle of it, it turns out to be missing
    mask = _read_mask(args.mask) if args.mask else None
    used = [*inputs, *outputs.values()]
    prepare_output_file(args.json, used=used)
    prepare_output_file(args.manifest, "--manifest", [*used, *([args.json] if args.json else [])])
    prepare_output_file(args.report, "--report", [*used, *filter(None, (args.json, args.manifest))])
    pipe = open_pipeline(args)
    if args.output != STANDARD:
        prepare_output_folder(args.output)
    batch = _Batch(args, pipe, mask, sources, outputs)
    try:
        status = for_each_file(list(sources), batch.restore, batch.note_error)
        batch.report_skipped()
        return status or min(found.failed, 1)
    finally:  # also what there is before a Ctrl-C, and an empty list where every image failed
        write_json(args.json, batch.results)
        if batch.page is not None:
            batch.page.finish()


class _Batch:
    """The restoration of the images of one call.

    Args:
        args: Of the command.
        pipe: That restores.
        mask: [1, H, W] in 0..1, or None.
        sources: The images by their path.
        outputs: Where the result of each goes.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        pipe: RestorationPipeline,
        mask: Tensor | None,
        sources: dict[Path, Source],
        outputs: dict[Path, Path],
    ) -> None:
        self.args, self.pipe, self.mask, self.sources, self.outputs = args, pipe, mask, sources, outputs
        self.manifest = Manifest(args.manifest) if args.manifest else None
        self.results: list[dict[str, Any]] = []
        self.page = _open_report(args.report, len(sources))
        self.skipped = 0
        self._digest: str | None = None
        self._started = 0.0

    @cached_property
    def options(self) -> str:
        """Everything that a result depends on besides its image."""
        return options_of(self.args, self.pipe, self.mask)

    def restore(self, path: Path) -> None:
        """Restore one image, unless its result is there and is not to be made again."""
        from ..model.image_files import read_image
        from ..model.inference.effect import note_on_order

        self._digest, self._started = None, time.monotonic()
        source, output = self.sources[path], self.outputs.get(path)
        there = output is not None and output != STANDARD and output.is_file()
        if there and self.args.skip_existing:
            self._skip(path)
            return
        with opened(source) as file:
            if self.manifest is not None:
                self._digest = digest_of(file)
                earlier = self.manifest.entries.get(self._key(output) or "")
                if there and self.args.resume and earlier is not None and earlier.holds(self._digest, self.options):
                    self._skip(path)
                    return
            if is_video(path):
                self._restore_video(path)
                return
            image = read_image(file, name=source.name)
        height, width = image.pixels.shape[2:]
        mask = self.mask
        if mask is not None and mask.shape[1:] != (height, width):
            raise ImageFileError(
                f"{source.name} is {width} x {height} px but the mask {self.args.mask} is {mask.shape[2]} x "
                f"{mask.shape[1]}: they must have the same size."
            )
        with_text = self.args.json is not None or self.manifest is not None or self.page is not None
        guidance = None if self.args.no_guidance else self.pipe.describe(image, with_text=with_text)
        if guidance is not None:
            guidance = steer(guidance, self.args)
        result = self.pipe(
            image,
            guidance,
            strength=self.args.strength,
            mask=mask,
            tile=self.args.tile,
            threshold=self.args.threshold,
            on_tile=_tile_bar(path),
        )
        notes = list(filter(None, (image.note, self._save(result, self.outputs[path]))))
        if guidance is not None:
            after = result.image.to(image.pixels.device)
            told = note_on_order(guidance, image.pixels, after, self.args.strength, mask)
            notes += [told.rstrip(".")] if told else []
        for note in notes:
            print_error(f"Note on {source.name}: {note}.")
        self.results.append(_report(source, self.outputs[path], guidance, result))
        if self.page is not None:
            self._show(self.page, path, image, result, guidance)
        self._record(path, guidance=guidance, psnr=change_psnr(image.pixels, result.image), note="; ".join(notes))

    def _restore_video(self, path: Path) -> None:
        """Restore one video."""
        from .video.command import restore_video

        output = self.outputs[path]
        output.parent.mkdir(parents=True, exist_ok=True)
        entry, guidance = restore_video(
            path,
            output,
            self.pipe,
            self.args,
            mask=self.mask,
            steer=lambda seen: steer(seen, self.args),
            options=self.options,
            page=self.page,
        )
        self.results.append(entry)
        self._record(path, guidance=guidance)

    def _skip(self, path: Path) -> None:
        """Leave an image out whose result is there; the report shows it all the same."""
        self.skipped += 1
        if self.page is None or is_video(path):
            return
        from ..model.image_files import read_image

        earlier = self.manifest.entries.get(self._key(self.outputs[path]) or "") if self.manifest else None
        with opened(self.sources[path]) as file:
            before = read_image(file, name=self.sources[path].name)
        self.page.add(
            self.sources[path].name,
            before,
            read_image(self.outputs[path]).pixels,
            description=earlier.description if earlier else None,
            scores=earlier.scores if earlier else None,
            facts=[("Restored", "in an earlier run")],
            files=[("Original", path), ("Restored", self.outputs[path])],
        )

    def note_error(self, path: Path, message: str) -> None:
        """Record why an image has no result."""
        if self.page is not None:
            self.page.add_failure(self.sources[path].name, message)
        self._record(path, error=" ".join(message.split()))

    def _show(
        self, page: ReportPage, path: Path, image: ImageFile, result: Restoration, guidance: Guidance | None
    ) -> None:
        """Add an image to the report."""
        facts = [("Time", f"{time.monotonic() - self._started:.1f} s")]
        if self.args.strength < 1:
            facts.insert(0, ("Strength", f"{self.args.strength:g}"))
        if self.args.mask:
            facts.insert(0, ("Mask", self.args.mask.name))
        files = [("Original", path), ("Restored", self.outputs[path])]
        page.add(
            self.sources[path].name,
            image,
            result.image,
            guidance=guidance,
            routing=result.routing,
            facts=facts,
            files=[(name, file) for name, file in files if file != STANDARD],
        )

    def report_skipped(self) -> None:
        """Say how many images were left out."""
        if self.skipped:
            results = "its result is" if self.skipped == 1 else "their results are"
            images = "1 image was" if self.skipped == 1 else f"{self.skipped} images were"
            print_error(f"{images} left out, since {results} there.")

    def _save(self, result: Restoration, output: Path) -> str:
        """Write a result; return what does not fit into its format."""
        from ..model.image_files import encode_image

        quality = self.args.quality or QUALITY
        if output != STANDARD:
            output.parent.mkdir(parents=True, exist_ok=True)
            return result.save(output, quality=quality)
        encoded = encode_image(result.image, self.args.format, like=result.source, quality=quality)
        sys.stdout.buffer.write(encoded.data)
        sys.stdout.buffer.flush()
        return encoded.note

    def _key(self, output: Path | None) -> str | None:
        """Return the name of a result in the manifest."""
        return None if output in (None, STANDARD) else output.relative_to(self.args.output).as_posix()

    def _record(
        self,
        path: Path,
        guidance: Guidance | None = None,
        psnr: float | None = None,
        note: str = "",
        error: str | None = None,
    ) -> None:
        """Append what became of an image to the manifest, if there is one."""
        from ..model.mllm.wording import scores_by_name

        if self.manifest is None:
            return
        self.manifest.add(
            Entry(
                file=self.sources[path].name,
                output=self._key(self.outputs.get(path)),
                digest=self._digest,
                options=self.options,
                description=guidance.descriptions[0] if guidance else None,
                scores=scores_by_name(guidance) if guidance else None,
                seconds=round(time.monotonic() - self._started, 3),
                psnr=None if psnr is None else round(psnr, 3),
                note=note,
                error=error,
            )
        )


def _open_report(path: Path | None, images: int) -> ReportPage | None:
    """Return the page that `--report` asks for."""
    if path is None:
        return None
    from .report.page import ReportPage

    return ReportPage(path, "Restored photographs", images)


def _plan_outputs(sources: Sequence[Source], args: argparse.Namespace, kept: Collection[Path]) -> dict[Path, Path]:
    """Return the output of each input.

    Files that are not images get no output; they are reported when they are reached.

    Args:
        sources: The inputs.
        args: Of the command.
        kept: Files that must not be overwritten.

    Raises:
        CommandError: A file would be written twice, or over one that is to be kept.
    """
    from ..model.image_files import is_image_file

    if args.output == STANDARD:
        if any(is_video(source.path) for source in sources):
            raise CommandError("-o - writes an image, not a video: name a folder with -o.")
        return {source.path: STANDARD for source in sources}
    outputs: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    kept_keys = set().union(*(file_keys(path) for path in kept if path != STANDARD))
    originals = {real_path(path).parent for path in kept}  # other files there may be originals, too
    originals |= {real_path(path.parent) for path in kept}
    done = read_manifest(args.manifest) if args.resume else {}
    for source in sources:
        path = source.path
        if path != STANDARD and not is_video(path) and not is_image_file(path):
            continue
        name = video_name(path) if is_video(path) else f"{source.place.name}.{args.format}"
        place = source.place.with_name(name)
        output = args.output / place
        earlier = taken.setdefault(str(output).casefold(), path)
        if earlier is not path:
            raise CommandError(f"{earlier} and {path} would both become {output}: restore them to different folders.")
        if kept_keys & file_keys(output):
            raise CommandError(
                f"{output} is one of the inputs and would be overwritten: choose another folder with -o."
            )
        again = args.skip_existing or place.as_posix() in done
        if output.exists() and real_path(output.parent) in originals and not again:
            raise CommandError(
                f"{output} is there already, beside the images to restore: choose another folder with -o."
            )
        outputs[path] = output
    return outputs


def _read_mask(path: Path) -> Tensor:
    """Return the mask [1, H, W].

    Raises:
        CommandError: Nothing in it is white.
    """
    from ..model.image_files import read_mask

    source = Source(path, path)
    with opened(source) as file:
        mask = read_mask(file, name=source.name)
    if not mask.any():
        raise CommandError(
            f"{source.name} is black everywhere, so nothing would be restored: paint white what is to be repaired "
            "(transparency does not count)."
        )
    return mask


def _check_output(args: argparse.Namespace) -> None:
    """Check that the options on the results go together.

    Raises:
        CommandError: They do not.
    """
    if args.quality is not None and args.format not in ("jpg", "webp"):
        raise CommandError(
            f"--quality is for --format jpg and webp, and {args.format} keeps every pixel: leave it out."
        )
    if args.report == STANDARD:
        raise CommandError("--report writes a page for a browser: name a file for it.")
    if args.quality is not None and args.quality > 100:
        raise CommandError(f"--quality {args.quality} is too much: give a number from 1 to 100.")
    if str(args.output) in ("/dev/stdout", "/dev/fd/1"):
        args.output = STANDARD
    if args.output != STANDARD:
        return
    if args.json == STANDARD:
        raise CommandError("-o - and --json - would both write to standard output: name a file for one of them.")
    if args.skip_existing or args.resume:
        raise CommandError("--skip-existing and --resume need a folder of results: name one with -o.")
    if sys.stdout.isatty():
        raise CommandError(
            "-o - would write an image to the terminal: send it to a file or a program, or name a folder."
        )


def options_of(args: argparse.Namespace, pipe: RestorationPipeline, mask: Tensor | None = None) -> str:
    """Return everything that a result depends on besides its image, as one line; of files their content counts.

    Args:
        args: Of the command.
        pipe: That restores.
        mask: [1, H, W] in 0..1, or None.

    Raises:
        WeightFileError: A weight file cannot be used.
        MllmError: The folder of the language model cannot be used.
    """
    names = ("format", "quality", "strength", "remove", "keep", "set", "no_guidance", "precision")
    values = {name: getattr(args, name) for name in names}
    if args.threshold != ACTION_THRESHOLD:
        values["threshold"] = args.threshold
    if mask is not None:
        values["mask"] = hashlib.sha256(f"{tuple(mask.shape)}".encode() + mask.numpy().tobytes()).hexdigest()
    told = [f"{name}={value}" for name, value in values.items() if value not in (None, False)]
    return ", ".join([*told, pipe.fingerprint(guided=not args.no_guidance)])


def _check_ray(args: argparse.Namespace) -> None:
    """Check that the other options go with `--engine ray`.

    Raises:
        CommandError: They do not.
    """
    for option in ("mask", "json", "report", "manifest", "skip_existing"):
        if getattr(args, option):
            raise CommandError(
                f"--{option.replace('_', '-')} does not go with --engine ray, which always writes a manifest "
                "and resumes: leave it out."
            )
    if args.output == STANDARD or STANDARD in args.images:
        raise CommandError("--engine ray reads and writes folders or URLs: name them instead of -.")


def _check_wishes(args: argparse.Namespace) -> None:
    """Check that options that steer the guidance go with guidance.

    Raises:
        CommandError: They do not.
    """
    if args.no_guidance and (args.remove or args.keep or args.set):
        raise CommandError(
            "--remove, --keep and --set steer the guidance, so they cannot go with --no-guidance: leave it out."
        )


def _report(source: Source, output: Path, guidance: Guidance | None, result: Restoration) -> dict[str, Any]:
    """Return the entry of one image in the JSON file."""
    from ..model.mllm.wording import report, scores_by_name

    height, width = result.image.shape[2:]
    return {
        "file": source.name,
        "output": "standard output" if output == STANDARD else str(output),
        "width": width,
        "height": height,
        "description": guidance.descriptions[0] if guidance else None,
        "scores": scores_by_name(guidance) if guidance else None,
        "removal": report(guidance)[0]["removal"] if guidance else None,
        "routing": [
            {
                "block": block.info.name,
                "weights": [round(float(weight), 4) for weight in block.weights],
                "edges": [round(float(edge), 4) for edge in block.info.edges],
            }
            for block in result.routing.frames[0]
        ],
    }


def _tile_bar(path: Path) -> Callable[[int, int], None] | None:
    """Return a progress bar over the tiles of one image, on terminals and for more than one tile."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar: Any = None

    def on_tile(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and total > 1:
            bar = tqdm(total=total, desc=path.name, unit="tile", leave=False)
        if bar is not None:
            bar.total = total  # smaller tiles after an out-of-memory error
            bar.update(done - bar.n)
            if done >= total:
                bar.close()

    return on_tile

"""The Ray engine of `mofe restore`: one actor per device holds the models, and a row per image makes it resumable."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import psutil

from ...model.errors import CommandError
from ...model.formats.suffixes import QUALITY
from ..common import open_pipeline, print_error
from ..manifest import Entry
from .files import Results, filesystem, find_images, is_url, text_of

ACTOR_BYTES = 1_500_000_000
"""Memory that an actor on a CPU takes: Python, torch, both networks and a large image."""

TASK = 8
"""Most images of one task of Ray: few, since the tasks of a dead actor start again (and find what is done)."""

TURNS = 16
"""Tasks of an actor where there are enough images: at the end others wait for the last task, so it must be short."""

PATIENCE = {
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "120",
}
"""Settings of Ray for a busy machine, which takes its time to start processes."""

ATTEMPTS = 3
"""How often Ray is started on this machine: it gives up after 30 seconds in which its helpers do not answer."""


def run_archive(args: argparse.Namespace, options: str) -> int:
    """Restore all images of the arguments.

    Args:
        args: Of `mofe restore`.
        options: Everything that a result depends on besides its image.

    Returns:
        The exit status: 1 where an image could not be restored.

    Raises:
        CommandError: Arguments that make no sense, or two images with one result.
    """
    results = Results(text_of(args.output))
    known = results.gather(results.entries())  # rows that an earlier run left when it was killed
    items = _items(args, results, known, options)
    if not items:
        print_error("Every image is restored already.")
        return 0
    failed = 0
    try:
        for row in _progress(_rows(args, items, options), len(items)):
            if row["error"]:
                failed += 1
                text = row["error"]
                print_error(text if row["file"] in text else f"{row['file']}: {text}")
    finally:
        results.gather(known)
    return 1 if failed else 0


class Restorer:
    """An actor: the models, loaded once, and what it does with a batch.

    Args:
        args: Of `mofe restore`.
        options: Everything that a result depends on besides its image.
    """

    def __init__(self, args: argparse.Namespace, options: str) -> None:
        import torch

        torch.set_num_threads(1)  # an actor per core: two threads of one image win less than two images
        self.args, self.options = args, options
        self.pipe = open_pipeline(args)
        self.results = Results(text_of(args.output))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Restore a batch of rows with `file` and `output`; return their entries."""
        entries = [self._restore(str(file), str(output)) for file, output in zip(*_columns(batch), strict=True)]
        rows = [{**asdict(entry), "scores": None} for entry in entries]  # all rows of one form
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _restore(self, file: str, output: str) -> Entry:
        done = self.results.read_row(output)  # by an actor that died later
        if done is not None and done.options == self.options:
            return done
        start = time.monotonic()
        try:
            entry = self._restored(file, output, start)
        except Exception as error:
            from ..common import message_about_one_file

            text = message_about_one_file(error)
            if text is None:
                raise
            message = " ".join(text.split())
            entry = Entry(file, output, None, self.options, None, None, time.monotonic() - start, None, "", message)
        self.results.write_row(output, entry)
        return entry

    def _restored(self, file: str, output: str, start: float) -> Entry:
        from ...model.image_files import encode_image, read_image
        from ...model.mllm.wording import scores_by_name
        from ..wishes import change_psnr, steer

        system, path = filesystem(file)
        data = system.cat_file(path)
        image = read_image(io.BytesIO(data), name=file)
        guidance = None if self.args.no_guidance else steer(self.pipe.describe(image), self.args)
        result = self.pipe(
            image, guidance, strength=self.args.strength, tile=self.args.tile, threshold=self.args.threshold
        )
        encoded = encode_image(result.image, self.args.format, like=image, quality=self.args.quality or QUALITY)
        self.results.write(output, encoded.data)
        return Entry(
            file=file,
            output=output,
            digest=hashlib.sha256(data).hexdigest(),
            options=self.options,
            description=guidance.descriptions[0] if guidance else None,
            scores=scores_by_name(guidance) if guidance else None,
            seconds=round(time.monotonic() - start, 3),
            psnr=round(change_psnr(image.pixels, result.image), 3),
            note="; ".join(filter(None, (image.note, encoded.note))),
            error=None,
        )


def _items(args: argparse.Namespace, results: Results, known: dict[str, Entry], options: str) -> list[dict[str, str]]:
    """Return file and output of every image that is left to do."""
    taken: dict[str, str] = {}
    items = []
    output_root = f"{results.root.rstrip('/')}/"
    for text in map(text_of, args.images):
        for file, place in find_images(text):
            if filesystem(file)[1].startswith(output_root):
                continue  # a result of an earlier run, in a folder inside that of the images
            output = str(PurePosixPath(place).with_suffix(f".{args.format}"))
            earlier = taken.setdefault(output.casefold(), file)
            if earlier != file:
                raise CommandError(f"{earlier} and {file} would both become {output}: restore them separately.")
            if results.path(output) == filesystem(file)[1]:
                raise CommandError(f"{file} would be overwritten by its result: choose another folder with -o.")
            entry = known.get(output)
            if entry is None or not _is_done(entry, file, results, options):
                items.append({"file": file, "output": output})
    return items


def _is_done(entry: Entry, file: str, results: Results, options: str) -> bool:
    """Return whether an image need not be restored again: not read, which would take long, but by name and age."""
    output = entry.output or ""
    same = entry.file == file or (not is_url(file) and str(Path(entry.file).resolve()) == file)
    if entry.error is not None or entry.options != options or not same or not results.exists(output):
        return False
    if is_url(file) or not results.is_local:
        return True
    return os.path.getmtime(file) <= os.path.getmtime(results.path(output))  # noqa: PTH204 - of an archive's many files


def _rows(args: argparse.Namespace, items: list[dict[str, str]], options: str) -> Iterator[dict[str, Any]]:
    """Yield the entry of each image as soon as it is done."""
    import ray

    _start(args)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        actors, resources = _actors(args.actors, ray.cluster_resources(), len(items))  # type: ignore[no-untyped-call]
        # not read_binary_files: a file that cannot be read ends the whole run, its paths come without the protocol, and
        # every byte passes through the object store, where the actor that needs the file can read it itself
        tasks = max(min(len(items), TURNS * actors), -(-len(items) // TASK))
        rows = ray.data.from_items(items, override_num_blocks=tasks)
        done = rows.map_batches(
            Restorer,
            fn_constructor_kwargs={"args": _absolute(args), "options": options},
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors),
            **resources,
        )
        yield from done.iter_rows()
    finally:
        ray.shutdown()


def _absolute(args: argparse.Namespace) -> argparse.Namespace:
    """Return arguments whose paths are the same in every folder: actors work in one of their own."""
    absolute = argparse.Namespace(**vars(args))
    for name in ("restorer", "mllm", "adapters"):
        if getattr(args, name) is not None:
            setattr(absolute, name, getattr(args, name).resolve())
    if not is_url(text_of(args.output)):
        absolute.output = args.output.resolve()
    return absolute


def _start(args: argparse.Namespace) -> None:
    """Start Ray on this machine, or join a cluster.

    Raises:
        CommandError: It does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    import ray

    settings: dict[str, Any] = {"address": args.address or "local", "log_to_driver": False, "logging_level": "error"}
    if args.address is None:
        settings |= {"include_dashboard": False, "num_cpus": args.actors or os.cpu_count() or 1}
    others = _children()
    for attempt in reversed(range(ATTEMPTS if args.address is None else 1)):
        try:
            ray.init(**settings)
            return
        except Exception as error:  # Ray raises errors of any class
            ray.shutdown()
            for helper in _children() - others:  # which Ray leaves until this program ends
                with contextlib.suppress(psutil.Error):
                    helper.kill()
            if attempt:
                continue
            reason = str(error).partition("\n")[0].rstrip(".")
            what = "start" if args.address is None else f"reach a cluster at {args.address}"
            raise CommandError(
                f"Ray does not {what} ({reason}): try again when the machine is less busy, or check --address."
            ) from error


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _actors(wanted: int | None, resources: dict[str, float], images: int) -> tuple[int, dict[str, Any]]:
    """Return the number of actors and what each takes: a GPU where there are any, else a core with room for it."""
    gpus = int(resources.get("GPU", 0))
    if gpus:
        return max(1, min(wanted or gpus, gpus, images)), {"num_gpus": 1}
    cores = int(resources.get("CPU", 1))
    room = int(resources.get("memory", ACTOR_BYTES) // ACTOR_BYTES)
    return max(1, min(wanted or min(cores, room), cores, images)), {"num_cpus": 1}


def _progress(rows: Iterator[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    from tqdm import tqdm

    return iter(tqdm(rows, total=total, unit="image", disable=not sys.stderr.isatty()))


def _columns(batch: dict[str, Any]) -> tuple[Any, Any]:
    return batch["file"], batch["output"]

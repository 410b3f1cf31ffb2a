"""The report as a file: photographs are added one by one and spooled to the disk, the page is written at the end."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torch import Tensor

from ...model.atomic import atomic_write
from ...model.guidance import Guidance
from ...model.image_files import ImageFile
from ...model.images import rgb_of
from ...model.inference.routing import Routing
from ...model.mllm.wording import scores_by_name
from .photo import bars_of, facts_of, orders_of, pictures_of, routing_of, sizes_for

ASSETS = Path(__file__).resolve().parent / "assets"
"""The template of the page, its style and its script."""

POLICY = "default-src 'none'; img-src data:; style-src '{style}'; script-src '{script}'; base-uri 'none'"
"""What the page may do: show pictures that it contains, run the one script that it contains, and nothing else."""


class ReportPage:
    """A report that is being made.

    Example:
        >>> page = ReportPage(Path("report.html"), "Restored photographs", photos=2)
        >>> page.add("a.jpg", before, result.image, guidance=guidance, routing=result.routing)
        >>> page.add_failure("b.jpg", "b.jpg cannot be read as an image.")
        >>> page.finish()

    Args:
        path: The page; its folder must exist.
        title: Its heading.
        photos: How many there will be, which decides how large each is shown.
    """

    def __init__(self, path: Path, title: str, photos: int) -> None:
        self.path, self.title = path, title
        self.count = 0
        self._sizes = sizes_for(photos)
        self._words = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115 - until `finish`
        self._pictures = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115

    def add(
        self,
        name: str,
        before: Tensor | ImageFile,
        after: Tensor,
        *,
        guidance: Guidance | None = None,
        description: str | None = None,
        scores: Mapping[str, float] | None = None,
        routing: Routing | None = None,
        reference: Tensor | None = None,
        facts: Sequence[tuple[str, str]] = (),
        files: Sequence[tuple[str, Path]] = (),
    ) -> None:
        """Add a photograph.

        Args:
            name: Its heading.
            before: The file, or [1, C, H, W] in 0..1.
            after: [1, C, H, W] in 0..1.
            guidance: What was seen; None where nothing looked at it.
            description: Of an earlier run, in the place of guidance.
            scores: The same.
            routing: Which expert worked where.
            reference: [1, 3, H, W], the original without any degradation, if it is known.
            facts: More names and values.
            files: Names of links, and the files that they open.
        """
        profile = before.metadata.get("icc_profile") if isinstance(before, ImageFile) else None
        old = before.rgb if isinstance(before, ImageFile) else rgb_of(before.cpu())
        new = rgb_of(after.cpu())
        pictures, detail = pictures_of(old, new, self._sizes, profile)
        height, width = old.shape[2:]
        orders = "" if guidance is None else orders_of(guidance)
        told = [("Order", orders)] if orders else []
        entry = {
            "name": name,
            "width": width,
            "height": height,
            "detail": detail,
            "change": round(float((new - old).abs().mean()), 5),
            "description": (description or "") if guidance is None else guidance.descriptions[0],
            "scores": bars_of(scores or {}) if guidance is None else bars_of(scores_by_name(guidance)),
            "guided": guidance is not None or bool(scores),
            "facts": [*facts_of(old, new, reference), *told, *facts],
            "routing": [] if routing is None else routing_of(routing),
            "files": [(label, self._link(file)) for label, file in files],
        }
        self._put(entry, pictures)

    def add_failure(self, name: str, message: str) -> None:
        """Add a file that could not be restored.

        Args:
            name: Its heading.
            message: Why, in one sentence.
        """
        self._put({"name": name, "error": message}, None)

    def finish(self) -> None:
        """Write the page, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        template, style, script = (
            (ASSETS / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
        )
        policy = POLICY.format(style=_digest(style), script=_digest(script))
        head, middle, tail = re.split("<!-- (?:words|pictures) -->\n", template)
        for mark, text in (("TITLE", html.escape(self.title)), ("POLICY", policy), ("STYLE", style)):
            head = head.replace(f"@{mark}@", text)
        with (
            self._words as words,
            self._pictures as pictures,
            atomic_write(self.path) as temporary,
            temporary.open("w", encoding="utf-8", newline="\n") as file,
        ):
            for text, spool in ((head, words), (middle.replace("@SCRIPT@", script), pictures)):
                file.write(text)
                spool.seek(0)
                shutil.copyfileobj(spool, file, 1 << 20)
            file.write(tail)

    def _put(self, entry: dict[str, Any], pictures: dict[str, str] | None) -> None:
        for kind, value, spool in (("photo", entry, self._words), ("pictures", pictures, self._pictures)):
            if value is not None:
                text = _json(value)
                spool.write(
                    f'<script type="application/json" class="{kind}" id="{kind}-{self.count}">{text}</script>\n'
                )
        self.count += 1

    def _link(self, file: Path) -> str:
        """Return the address of a file, relative to the page where there is a way."""
        try:
            way = os.path.relpath(file.resolve(), self.path.parent.resolve())
        except ValueError:  # on another drive of Windows
            return file.resolve().as_uri()
        return quote(Path(way).as_posix().encode("utf-8", errors="surrogateescape"))


def _json(value: Any) -> str:
    """Return JSON that cannot end the script element in which it lies."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = text.encode("utf-8", errors="backslashreplace").decode("utf-8")  # file names need not be text
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _digest(text: str) -> str:
    """Return the digest by which the policy knows a style or a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")

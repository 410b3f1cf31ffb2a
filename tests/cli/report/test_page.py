"""The page of `--report`: what it says of every image, and that nothing in it can reach out or run."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mofe_restore.cli.report.page import ReportPage
from mofe_restore.cli.report.photo import facts_of, orders_of, pictures_of, sizes_for
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.cli.calls import noise, run, save, sentence
from mofe_restore.tests.factories import scored_guidance


class Scripts(HTMLParser):
    """The texts of the script elements by kind, as a browser would cut them out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.addresses: list[str] = []
        self._kind: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._kind = (dict(attrs).get("class") or "program") if tag == "script" else None
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self._kind:
            self.found.setdefault(self._kind, []).append(data)

    def handle_endtag(self, tag: str) -> None:
        self._kind = None


def parsed(path: Path) -> Scripts:
    scripts = Scripts()
    scripts.feed(path.read_text(encoding="utf-8"))
    return scripts


def photos_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in parsed(path).found.get("photo", [])]


def picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_field23_row3_the_page_shows_every_image_and_every_failure(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "in" / "bad.jpg"
    bad.write_text("no image")
    page = tmp_path / "out" / "report.html"
    assert run("restore", photo, bad, "-o", tmp_path / "out", "--restorer", restorer, "--report", page) == 1
    restored, failed = photos_of(page)
    assert restored["description"] == "Strong low light."
    assert len(restored["scores"]) == 7
    first, *others = restored["scores"]
    assert (first["name"], first["word"], first["present"]) == ("low light", "strong", True)
    assert first["score"] == pytest.approx(0.9) and [each["score"] for each in others] == sorted(
        (each["score"] for each in others), reverse=True
    )
    assert {name for name, _ in restored["facts"]} >= {"Mean change", "Pixels changed", "PSNR to the input", "Time"}
    assert restored["files"] == [["Original", "../in/photo.png"], ["Restored", "photo.png"]]
    for block in restored["routing"]:
        assert sum(expert["share"] for expert in block["experts"]) == pytest.approx(1, abs=1e-3)
        assert picture(block["map"]).mode == "P"
    assert failed["error"] in capsys.readouterr().err
    (pictures,) = (json.loads(text) for text in parsed(page).found["pictures"])
    assert picture(pictures["before"]).size == picture(pictures["after"]).size == (50, 40)


def test_field23_row3_the_page_loads_nothing_and_runs_only_its_own_script(
    photo: Path, restorer: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--report", page) == 0
    text, scripts = page.read_text(encoding="utf-8"), parsed(page)
    assert "default-src 'none'" in text and "@" not in re.sub(r"@media", "", text.partition("</head>")[0])
    assert [address for address in scripts.addresses if not address.startswith("#")] == []
    (program,) = scripts.found["program"]
    assert "http:" not in program and "https:" not in program and "fetch(" not in program


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>.png", "<!--<script>.png", "a\u2028b&amp;.png"])
def test_names_cannot_leave_the_place_where_they_lie(name: str, tmp_path: Path) -> None:
    page = ReportPage(tmp_path / "report.html", name, 1)
    page.add_failure(name, f"{name} is no image.")
    page.add(name, torch.rand(1, 3, 20, 20), torch.rand(1, 3, 20, 20))
    page.finish()
    assert [photo["name"] for photo in photos_of(tmp_path / "report.html")] == [name, name]
    assert len(parsed(tmp_path / "report.html").found["program"]) == 1


def test_a_name_that_is_not_text_is_shown_all_the_same(tmp_path: Path) -> None:
    page = ReportPage(tmp_path / "report.html", "title", 1)
    page.add(
        "a\udce9.png", torch.rand(1, 3, 20, 20), torch.rand(1, 3, 20, 20), files=[("it", tmp_path / "a\udce9.png")]
    )
    page.finish()
    (photo,) = photos_of(tmp_path / "report.html")
    assert photo["name"] == "a\udce9.png" and photo["files"] == [["it", "a%E9.png"]]


@pytest.mark.parametrize("photos", [1, 100, 1000])
def test_pictures_stay_within_their_share_of_the_page(photos: int) -> None:
    generator = torch.Generator().manual_seed(0)
    before = 0.5 + 0.1 * torch.randn(1, 3, 700, 900, generator=generator)  # strong noise
    sizes = sizes_for(photos)
    uris, detail = pictures_of(before, before.clamp(0.4, 0.6), sizes)
    assert sum(map(len, uris.values())) <= sizes.limit * 1.1
    assert sizes_for(photos).limit * photos <= 50_000_000
    assert picture(uris["detail_before"]).size == picture(uris["detail_after"]).size == detail
    assert picture(uris["before"]).size == picture(uris["after"]).size


def test_the_detail_is_the_part_that_was_changed_most() -> None:
    before = torch.full((1, 3, 600, 1000), 0.5)
    after = before.clone()
    after[:, :, 480:560, 820:900] = 1.0
    uris, _ = pictures_of(before, after, sizes_for(1))
    change, detail = picture(uris["change"]).convert("L"), picture(uris["detail_after"]).convert("L")
    assert change.getpixel((round(change.width * 0.86), round(change.height * 0.86))) > 240
    assert change.getpixel((10, 10)) < 10
    assert sum(value > 200 for value in detail.tobytes()) > 6000


def test_facts_say_how_much_was_changed() -> None:
    before = torch.full((1, 3, 20, 20), 0.25)
    after = before.clone()
    after[:, :, :10] += 10 / 255
    facts = dict(facts_of(before, after, reference=after))
    assert facts["Mean change"] == "5.0 of 255" and facts["Pixels changed"] == "50 %"
    assert facts["Brightness"] == "0.25 to 0.27"
    assert facts["PSNR to the original"].startswith("31.1 to 100.0 dB")


def test_orders_are_told() -> None:
    seen = scored_guidance([0.9] * len(DEGRADATIONS))
    assert orders_of(seen) == ""
    assert orders_of(seen.with_removal({"haze": 0.0})) == "keep haze"
    assert orders_of(seen.with_removal({"noise": 0.5, "haze": 0.0})) == "remove noise (50 %); keep haze"
    assert orders_of(seen.with_removal({}, forced=["rain"])) == "remove rain"


def test_a_report_replaces_no_other_file(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save(tmp_path / "other.png", noise(20, 20, 3))
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--report", other) == 1
    assert "is not a .html file" in sentence(capsys)
    both = tmp_path / "both.json"
    words = ("--json", both, "--report", both)
    assert run("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, *words) == 1
    assert "would be overwritten" in sentence(capsys)

"""The page in a real Chromium: with keyboard and touch, in the dark, with a thousand images, and under axe's rules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from mofe_restore.cli.report import page as page_module
from mofe_restore.cli.report.page import ReportPage
from mofe_restore.model.images import rgb_of
from mofe_restore.tests.factories import make_guidance, make_restorer, restore
from mofe_restore.tests.host.browser import chromium, missing

HERE = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.field,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]

Open = Callable[..., Any]


def axe() -> Path | None:
    """The rules of axe: the file that `AXE_CORE` names, or that of `npm install --no-save axe-core`."""
    named = Path(os.environ.get("AXE_CORE") or HERE / "node_modules" / "axe-core" / "axe.min.js")
    return named if named.is_file() else None


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    """Opens a page; at the end it must have thrown nothing and asked for nothing."""
    contexts, complaints = [], []

    def opening(path: Path, **settings: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **settings})
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        address = path.as_uri()
        allowed = (address, "data:image/")
        tab.on("request", lambda asked: None if asked.url.startswith(allowed) else complaints.append(asked.url))
        tab.goto(address, wait_until="commit")
        tab.wait_for_selector("html[data-ready]", state="attached")
        return tab

    yield opening
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, of which one could not be restored."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    page = ReportPage(path, "Restored photographs", 3)
    network = make_restorer()
    for name, height, width in (("wide.jpg", 96, 160), ("tall.jpg", 160, 96)):
        image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 0.3
        guidance = make_guidance()
        result = restore(network, image, guidance)
        page.add(
            name,
            image,
            rgb_of(result.image + 0.3),
            guidance=guidance,
            routing=result.routing,
            facts=[("Time", "0.1 s")],
            files=[("Original", path.parent / name)],
        )
    page.add_failure("bad.jpg", "bad.jpg cannot be read as an image.")
    page.finish()
    return path


def seconds_of_all_processes() -> float:
    """Time that the processors have spent on the browser: unlike that of the clock, not longer on a busy machine."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            total += sum(process.cpu_times()[:2])
    return total


def share_of(tab: Any) -> int:
    return int(tab.locator(".compare input").first.input_value())


def test_field23_row3_the_slider_follows_mouse_keyboard_and_finger(report: Path, visit: Open) -> None:
    tab = visit(report, has_touch=True)
    frame = tab.locator(".compare").first
    frame.wait_for()
    box = frame.bounding_box()
    tab.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 20)
    tab.mouse.down()
    assert share_of(tab) == pytest.approx(80, abs=1)
    tab.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 20)
    tab.mouse.up()
    assert share_of(tab) == pytest.approx(30, abs=1)
    slider = tab.locator(".compare input").first
    slider.focus()
    tab.keyboard.press("ArrowRight")
    assert share_of(tab) == pytest.approx(31, abs=1)
    tab.keyboard.press("Home")
    assert share_of(tab) == 0 and slider.get_attribute("aria-valuetext") == "0 % before, 100 % after"
    tab.touchscreen.tap(box["x"] + 0.6 * box["width"], box["y"] + 20)
    assert share_of(tab) == pytest.approx(60, abs=1)
    clip = tab.locator(".compare .before").first.evaluate("image => getComputedStyle(image).clipPath")
    assert "40%" in clip or "40.0" in clip


def test_field23_row3_views_kinds_and_words_choose_what_is_shown(report: Path, visit: Open) -> None:
    tab = visit(report)
    first = tab.locator("article").first
    first.locator(".compare").wait_for()
    whole = first.locator(".after").get_attribute("src")
    first.get_by_role("button", name="Detail").click()
    assert first.locator(".after").get_attribute("src") != whole
    first.get_by_role("button", name="Changes").click()
    assert not first.locator(".before").is_visible() and "black not at all" in first.inner_text()
    assert tab.locator("#summary").inner_text() == "2 photographs, 1 that could not be restored"
    tab.get_by_role("button", name="not restored 1").click()
    assert [each.inner_text() for each in tab.locator("article:visible h2").all()] == ["bad.jpg"]
    tab.get_by_role("button", name="all 3").click()
    tab.get_by_label("Name or words").fill("TALL")
    assert tab.locator("article:visible").count() == 1
    tab.get_by_label("Name or words").fill("")
    tab.get_by_label("Order").select_option("name")
    names = [each.inner_text().split()[0] for each in tab.locator("article h2").all()]
    assert names == ["bad.jpg", "tall.jpg", "wide.jpg"]


def test_field23_row3_the_page_is_dark_where_the_system_is(report: Path, visit: Open) -> None:
    def paper(scheme: str) -> str:
        return str(visit(report, color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor"))

    assert paper("light") == "rgb(246, 247, 248)" and paper("dark") == "rgb(19, 21, 24)"


@pytest.mark.skipif(
    axe() is None, reason="axe-core is not there: npm install --no-save axe-core, or name it in AXE_CORE"
)
@pytest.mark.parametrize(
    "settings",
    [{"color_scheme": "light"}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}, "has_touch": True}],
    ids=["light", "dark on a phone"],
)
def test_field23_row3_axe_finds_no_error(report: Path, visit: Open, settings: dict[str, Any]) -> None:
    tab = visit(report, **settings)
    tab.locator(".compare").first.wait_for()
    for details in tab.locator("summary").all():
        details.click()
    rules = axe()
    assert rules is not None
    tab.evaluate(rules.read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 10
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


def test_field23_row3_a_thousand_images_open_in_three_seconds(
    tmp_path: Path, visit: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.rand(1, 3, 480, 640, generator=torch.Generator().manual_seed(0))
    pictures = page_module.pictures_of(before, before * 0.7, page_module.sizes_for(1000))
    monkeypatch.setattr(page_module, "pictures_of", lambda *_: pictures)  # the same for all: encoding takes long
    small = before[:, :, :96, :128].contiguous()
    guidance = make_guidance()
    result = restore(make_restorer(), small, guidance)
    page = ReportPage(tmp_path / "report.html", "A thousand", 1000)
    for index in range(1000):
        page.add(f"{index:04d}.jpg", small, result.image, guidance=guidance, routing=result.routing)
    page.finish()
    assert (tmp_path / "report.html").stat().st_size > 30_000_000
    start = seconds_of_all_processes()
    tab = visit(tmp_path / "report.html")
    tab.locator(".compare").first.wait_for()
    assert seconds_of_all_processes() - start < 3
    tab.wait_for_load_state("load")
    assert tab.locator("article").count() == 1000
    assert tab.locator(".compare").count() < 10
    tab.locator("article").last.scroll_into_view_if_needed()
    tab.locator("article").last.locator(".compare").wait_for()

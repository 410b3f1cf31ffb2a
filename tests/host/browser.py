"""ComfyUI's own front end in a headless Chromium, used as a person would: drop, reload, Run, Cancel, search, help.

Needs the package playwright and a Chromium: the one that `CHROMIUM` names, or one on the path.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from PIL import Image

LOOPBACK = ("127.0.0.1", "localhost")
START_SECONDS = 300
RUN_SECONDS = 300

CABLES = Path(__file__).with_name("cables.js")

DROP = """workflow => {
    const transfer = new DataTransfer()
    transfer.items.add(new File([JSON.stringify(workflow)], 'workflow.json', { type: 'application/json' }))
    for (const type of ['dragenter', 'dragover', 'drop'])
        document.querySelector('#graph-canvas').dispatchEvent(new DragEvent(
            type, { dataTransfer: transfer, bubbles: true, cancelable: true, clientX: 700, clientY: 600 }))
}"""

LISTEN = """() => {
    window.mofeEnd = null
    for (const kind of ['execution_error', 'execution_interrupted', 'execution_success'])
        window.app.api.addEventListener(kind, event => { window.mofeEnd ??= { kind, detail: event.detail } })
}"""


def missing() -> str | None:
    """What is missing to drive a browser, in words, or None."""
    if importlib.util.find_spec("playwright") is None:
        return "the package playwright is not installed"
    return None if chromium() else "there is no Chromium: install it, or name it in CHROMIUM"


def chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """A tab with ComfyUI open.

    Attributes:
        errors: what the page threw, other than what it could not fetch from the internet.
    """

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url, wait_until="domcontentloaded", timeout=START_SECONDS * 1000)
        self.wait_until_up()

    def wait_until_up(self) -> None:
        self.page.wait_for_function(
            "() => window.app?.graph && window.app.extensionManager && "
            "Object.keys(window.LiteGraph?.registered_node_types ?? {}).some(name => name.startsWith('MoFE_'))",
            timeout=START_SECONDS * 1000,
        )

    def drop(self, workflow: dict[str, Any]) -> None:
        """Drops a workflow file on the canvas and waits until its nodes are there."""
        self.page.evaluate(DROP, workflow)
        self.wait_for_nodes(len(workflow["nodes"]))

    def wait_for_nodes(self, count: int) -> None:
        self.page.wait_for_function("count => window.app.graph.nodes.length === count", arg=count, timeout=30_000)
        self.page.wait_for_timeout(500)  # widgets and sizes follow a frame or two later

    def reload(self) -> None:
        """As F5: the front end brings back the workflow that was open."""
        self.page.wait_for_timeout(1500)  # it keeps a draft a moment after each change
        self.page.reload(wait_until="domcontentloaded")
        self.wait_until_up()

    def press_run(self) -> None:
        self.page.evaluate(LISTEN)
        self.page.get_by_test_id("queue-button").click()

    def press_cancel(self) -> None:
        self.page.get_by_role("button", name="Cancel current run").first.click()

    def wait_for_end(self) -> dict[str, Any]:
        """How the run ended: `kind` is execution_success, execution_error or execution_interrupted."""
        self.page.wait_for_function("() => window.mofeEnd", timeout=RUN_SECONDS * 1000)
        self.page.wait_for_timeout(1500)  # images of the last nodes are still being fetched
        return self.page.evaluate("() => window.mofeEnd")

    def running_node(self) -> None:
        """Waits until some node runs."""
        self.page.evaluate(
            "() => new Promise(done => window.app.api.addEventListener('progress', done, { once: true }))"
        )

    def prompt(self) -> dict[str, Any]:
        """What Run would hand in: the workflow in API form."""
        return self.page.evaluate("async () => (await window.app.graphToPrompt()).output")

    def nodes(self) -> list[dict[str, Any]]:
        """Every node with its place, its size and the size that it needs."""
        return self.page.evaluate(
            "() => window.app.graph.nodes.map(node => ({ id: node.id, type: node.type, title: node.title, "
            "pos: [...node.pos], size: [...node.size], least: [...node.computeSize()], "
            "images: (node.imgs ?? []).map(image => [image.naturalWidth, image.naturalHeight]) }))"
        )

    def whole_workflow(self) -> None:
        """Moves the view so that everything is seen, whatever was selected."""
        self.page.evaluate("() => window.app.canvas.deselectAll()")
        self.page.keyboard.press(".")
        self.page.wait_for_timeout(1500)

    def cables_behind_nodes(self) -> tuple[int, list[str]]:
        """How many pieces of cable there are, and which run behind a node, as the front end has drawn them."""
        count, *found = self.page.evaluate(CABLES.read_text(encoding="utf-8"))
        return count, found

    def text_on(self, kind: str) -> str:
        """What a node, the first of its type, says on itself; empty where it says nothing."""
        return self.page.evaluate(
            """kind => window.app.graph.nodes.find(node => node.type === kind)
                .widgets.find(widget => widget.name === '$$node-text-preview')?.value ?? ''""",
            kind,
        )

    def open_side_panel(self) -> None:
        """Opens the panel at the right side, which holds the settings of nodes."""
        self.page.get_by_role("button", name="Toggle properties panel").first.click()
        self.page.wait_for_timeout(1000)

    def seen_of_the_graph(self) -> tuple[float, list[str]]:
        """The scale of the view, and the nodes that do not lie in it whole."""
        scale, hidden = self.page.evaluate(
            """() => {
                const canvas = window.app.canvas, { scale, offset } = canvas.ds
                const box = canvas.canvas.getBoundingClientRect()
                const panel = document.querySelector('[data-testid="properties-panel"]')?.getBoundingClientRect()
                const right = panel && panel.width ? panel.left : box.right
                const hidden = window.app.graph.nodes.filter(node => {
                    const [x, y, width, height] = node.getBounding()
                    const [left, top] = [(x + offset[0]) * scale + box.left, (y + offset[1]) * scale + box.top]
                    return left < box.left || top < box.top || left + width * scale > right
                        || top + height * scale > box.bottom
                })
                return [scale, hidden.map(node => node.title)]
            }"""
        )
        return scale, hidden

    def speak(self, locale: str) -> None:
        self.page.evaluate("locale => window.app.extensionManager.setting.set('Comfy.Locale', locale)", locale)
        self.page.wait_for_timeout(1500)

    def clear(self) -> None:
        self.page.evaluate("() => window.app.graph.clear()")
        self.page.wait_for_timeout(300)

    def add(self, kind: str) -> None:
        """Puts a node into the middle of the view."""
        self.page.evaluate(
            """kind => {
                const node = window.LiteGraph.createNode(kind)
                window.app.canvas.ds.reset()
                node.pos = [600, 400]
                window.app.graph.add(node)
            }""",
            kind,
        )
        self.page.wait_for_timeout(500)

    def open_search(self, words: str) -> None:
        """Double-clicks on the empty canvas until it asks for words, and types them until something is offered."""
        for _ in range(5):  # close upon the search before it, a double click is not always taken for one
            self.page.mouse.dblclick(1000, 500)
            self.page.wait_for_timeout(1000)
            if self.page.evaluate("() => document.activeElement?.tagName === 'INPUT'"):
                break
        self.page.keyboard.type(words)
        self.page.get_by_test_id("result-item").first.wait_for(timeout=10_000)
        self.page.wait_for_timeout(1000)

    def add_by_search(self, name: str) -> None:
        """Adds what the search offers under a name, with the mouse."""
        self.open_search(name)
        self.page.get_by_test_id("result-item").filter(has_text=name).first.click()
        self.page.wait_for_timeout(500)
        self.page.mouse.click(1000, 500)  # where it is to lie
        self.page.keyboard.press("Escape")
        self.page.wait_for_timeout(1000)

    def search_by_double_click(self, words: str) -> list[str]:
        """The names of the nodes that a double click on the empty canvas offers for some words, best first."""
        self.clear()
        self.open_search(words)
        found = [text.splitlines()[0] for text in self.page.get_by_test_id("result-item").all_inner_texts()]
        self.page.keyboard.press("Escape")
        return found

    def search_in_library(self, words: str) -> list[str]:
        """The names that the node library shows for some words, folders among them."""
        self.clear()
        self.page.keyboard.press("n")
        box = self.page.get_by_role("combobox").first
        box.fill(words)
        self.page.wait_for_timeout(1500)
        found = self.page.get_by_role("treeitem").all_inner_texts()
        box.fill("")
        self.page.evaluate("() => { window.app.extensionManager.sidebarTab.activeSidebarTabId = null }")
        self.page.wait_for_timeout(500)
        return found

    def open_help(self, kind: str) -> tuple[str, int]:
        """The text of the help page of a node in the graph, and the width of its image as loaded."""
        self.page.evaluate(
            "kind => window.app.canvas.selectNode(window.app.graph.nodes.find(node => node.type === kind))", kind
        )
        self.page.get_by_test_id("info-button").first.click()
        help_page = self.page.locator(".node-help-content")
        image = help_page.locator("img")
        image.first.wait_for(timeout=20_000)
        self.page.wait_for_timeout(500)
        return help_page.inner_text(), image.first.evaluate("image => image.naturalWidth")

    def open_templates(self, pack: str) -> dict[str, int]:
        """The templates that the template browser shows of a pack, each with the width of its image as loaded."""
        self.page.get_by_role("button", name="Templates").first.click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_text(pack).first.click()
        dialog.locator("img").first.wait_for(timeout=20_000)
        self.page.wait_for_timeout(2000)
        shown = dialog.locator("img").evaluate_all("images => images.map(image => [image.alt, image.naturalWidth])")
        return dict(shown)

    def open_template(self, name: str) -> None:
        """Opens a template of the pack that is shown."""
        self.page.get_by_role("dialog").get_by_text(name, exact=True).first.click()
        self.page.get_by_role("dialog").first.wait_for(state="hidden", timeout=20_000)
        self.page.wait_for_timeout(1500)

    def image_of(self, types: Sequence[str], margin: int = 24) -> Image.Image:
        """What is seen of some nodes, the first of each type, and of what lies between them."""
        places = self.page.evaluate(
            """types => {
                const canvas = window.app.canvas, { scale, offset } = canvas.ds
                const box = canvas.canvas.getBoundingClientRect()
                return types.map(type => {
                    const node = window.app.graph.nodes.find(node => node.type === type)
                    const [x, y, width, height] = node.getBounding()
                    const [left, top] = [(x + offset[0]) * scale + box.left, (y + offset[1]) * scale + box.top]
                    return [left, top, width * scale, height * scale]
                })
            }""",
            list(types),
        )
        left, top = (min(place[side] for place in places) - margin for side in (0, 1))
        right, bottom = (max(place[side] + place[side + 2] for place in places) + margin for side in (0, 1))
        clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        return Image.open(io.BytesIO(self.page.screenshot(clip=clip)))

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)


@contextmanager
def open_page(
    url: str, *, vue: bool = False, locale: str = "en", size: tuple[int, int] = (1800, 1000)
) -> Iterator[Page]:
    """A tab with the ComfyUI at `url`; nothing but loopback can be reached from it.

    Args:
        vue: nodes as elements of the page, the newer of the two renderings.
    """
    import urllib.request

    from playwright.sync_api import sync_playwright

    settings = {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": vue, "Comfy.Locale": locale}
    for name, value in settings.items():
        request = urllib.request.Request(
            f"{url}/settings/{name}", json.dumps(value).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30):
            pass
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        try:
            context = browser.new_context(viewport={"width": size[0], "height": size[1]})
            context.route(lambda address: urlparse(address).hostname not in LOOPBACK, lambda route: route.abort())
            yield Page(context.new_page(), url)
        finally:
            browser.close()

"""Write every image that shows results, of the workflows, the help pages and the README; to be run after training.

    COMFYUI_PATH=... COMFYUI_VENV=... python -m mofe_restore.tools.write_pictures

A real ComfyUI runs the workflows with the shipped weights on the demo's photographs; nothing is retouched. Images of
nodes are screenshots from a browser (`tests/host/browser.py`); without one they stay as they are, which is reported.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..cli.demo import EXAMPLES, make_example
from ..model.charts.comparison import draw_comparison, to_pil
from ..model.image_files import read_image
from ..model.synthesis.degrade import degrade
from ..model.synthesis.severities import Severities
from ..tests.host import browser
from ..tests.host.server import Server, copy_pack, to_prompt

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
HELP = ROOT / "web" / "docs"
PACK = "mofe-restore"

CARD = (1280, 720)
"""Size of a workflow's image in px."""
PAGE = (800, 300)
"""Size of a result in a help page in px."""
GAP = 6
"""Distance between images in px."""
QUALITY = 86
"""Of the JPEG files."""

FOG_AND_RAIN = Severities(haze_beta=1.4, airlight=0.8, rain=0.45)
"""What the rocket stands in: the fog is kept by a workflow."""

Panel = tuple[str, Image.Image | None]
"""A label and its image; without an image the label fills the place."""


class Studio:
    """A ComfyUI with the pack and the demo's photographs: as they are (`rocket.jpg`) and degraded (`rocket.png`).

    Args:
        base: An empty folder for its files.
    """

    def __init__(self, base: Path) -> None:
        copy_pack(ROOT, base / "custom_nodes" / PACK)
        (base / "input").mkdir()
        for number, example in enumerate(EXAMPLES):
            clean, photo = make_example(number)
            stem = Path(example.file).stem
            to_pil(clean).save(base / "input" / f"{stem}.jpg", quality=95)
            photo = degrade(clean, FOG_AND_RAIN) if stem == "rocket" else photo
            to_pil(photo).save(base / "input" / f"{stem}.png")
        self.server = Server(Path(os.environ["COMFYUI_PATH"]), Path(os.environ["COMFYUI_VENV"]), base)

    def input(self, name: str) -> Image.Image:
        """Return an image of the input folder."""
        return Image.open(self.server.base / "input" / name).convert("RGB")

    def make_video(self, photo: str, name: str, frames: int = 12) -> None:
        """Write a video of a still photograph in falling rain, with noise that changes from frame to frame.

        H.264 wants even sizes.
        """
        still = self.input(photo)
        still.crop((0, 0, still.width // 2 * 2, still.height // 2 * 2)).save(self.server.base / "input" / "still.png")
        wishes = dict.fromkeys(("low_light", "haze", "snow", "blur", "jpeg"), 0.0)
        outputs = self.server.run(
            {
                "photo": {"class_type": "LoadImage", "inputs": {"image": "still.png"}},
                "still": {"class_type": "RepeatImageBatch", "inputs": {"image": ["photo", 0], "amount": frames}},
                "rain": {
                    "class_type": "MoFE_DegradeImage",
                    "inputs": {"image": ["still", 0], **wishes, "rain": 0.5, "noise": 0.3, "seed": 1},
                },
                "video": {"class_type": "CreateVideo", "inputs": {"images": ["rain", 0], "fps": 12.0}},
                "save": {
                    "class_type": "SaveVideo",
                    "inputs": {"video": ["video", 0], "filename_prefix": "made", "format": "mp4", "codec": "h264"},
                },
            }
        )
        saved = outputs["save"]["images"][0]
        (self.server.base / "input" / name).write_bytes(self.server.image(saved))

    def run(self, workflow: str, photo: str) -> tuple[dict[str, Image.Image], dict[str, str]]:
        """Run a workflow on a photograph; nodes that need models from elsewhere are left out.

        Returns:
            The first image and the text that each node shows, both by its title or type.
        """
        graph = with_photo(workflow, photo)
        outputs = self.server.run(without_foreign_models(to_prompt(graph)))
        names = {str(node["id"]): node.get("title", node["type"]) for node in graph["nodes"]}
        images = {
            names[number]: self.fetch(shown[kind][0])
            for number, shown in outputs.items()
            for kind in ("images", "b_images")  # of a comparison, what came out
            if shown.get(kind)
        }
        texts = {names[number]: shown["text"][0] for number, shown in outputs.items() if "text" in shown}
        return images, texts

    def fetch(self, saved: dict[str, str]) -> Image.Image:
        """Return an image that a node has saved."""
        return Image.open(io.BytesIO(self.server.image(saved))).convert("RGB")

    def frames(self, workflow: str, video: str, wanted: Iterable[int]) -> list[tuple[Image.Image, Image.Image]]:
        """Return (before, after) of some frames of a video that the workflow restores."""
        prompt = to_prompt(with_photo(workflow, video))
        numbers = {node["class_type"]: number for number, node in prompt.items()}
        sources = (numbers["GetVideoComponents"], numbers["MoFE_Restore"])
        for source in sources:
            prompt[f"see {source}"] = {"class_type": "PreviewImage", "inputs": {"images": [source, 0]}}
        outputs = self.server.run(prompt)
        shown = [outputs[f"see {source}"]["images"] for source in sources]
        return [(self.fetch(shown[0][number]), self.fetch(shown[1][number])) for number in wanted]


def with_photo(workflow: str, photo: str) -> dict[str, Any]:
    """Return a workflow that loads this photograph or video."""
    graph: dict[str, Any] = json.loads((ROOT / "workflows" / f"{workflow}.json").read_text(encoding="utf-8"))
    for node in graph["nodes"]:
        if node["type"] in ("LoadImage", "LoadVideo"):
            node["widgets_values"][0] = photo
    return graph


def without_foreign_models(prompt: dict[str, Any]) -> dict[str, Any]:
    """Return a prompt without the loaders of models that the pack does not ship, and without all that needs them."""
    left_out = {
        number
        for number, node in prompt.items()
        if node["class_type"] in ("UpscaleModelLoader", "CheckpointLoaderSimple", "CLIPLoader")
    }
    for node in prompt.values():  # Load MLLM takes the shipped model without one
        if node["class_type"] == "MoFE_LoadMLLM":
            node["inputs"].pop("clip", None)
    while True:
        more = {
            number
            for number, node in prompt.items()
            if any(isinstance(value, list) and value[0] in left_out for value in node["inputs"].values())
        }
        if more <= left_out:
            return {number: node for number, node in prompt.items() if number not in left_out}
        left_out |= more


def side_by_side(panels: Sequence[Panel], size: tuple[int, int]) -> Image.Image:
    """Draw images in a row of the given size, each cut to its share of it, with its label in a corner."""
    width, height = size
    page = Image.new("RGB", size, "white")
    for index, (text, image) in enumerate(panels):
        left = index * (width + GAP) // len(panels)
        right = (index + 1) * (width + GAP) // len(panels) - GAP
        space = (right - left, height)
        page.paste(ImageOps.fit(image, space) if image else text_panel(text, space), (left, 0))
        if image:
            draw_label(page, text, left)
    return page


def stack(images: list[Image.Image]) -> Image.Image:
    """Put images of one width below each other."""
    page = Image.new("RGB", (images[0].width, sum(each.height + GAP for each in images) - GAP), "white")
    top = 0
    for each in images:
        page.paste(each, (0, top))
        top += each.height + GAP
    return page


def draw_label(page: Image.Image, text: str, left: int, top: int = 0) -> None:
    """Draw a line of text on a dark box near a corner."""
    font, draw = ImageFont.load_default(24), ImageDraw.Draw(page)
    draw.rectangle((left + 10, top + 10, left + 26 + font.getlength(text), top + 46), (24, 26, 30))
    draw.text((left + 18, top + 14), text, "white", font)


def text_panel(text: str, size: tuple[int, int]) -> Image.Image:
    """Draw a panel with text in its center."""
    page, font = Image.new("RGB", size, (44, 48, 56)), ImageFont.load_default(30)
    draw = ImageDraw.Draw(page)
    draw.multiline_text((size[0] / 2, size[1] / 2), text, "white", font, anchor="mm", align="center", spacing=12)
    return page


def beside_chart(panels: Sequence[Panel], chart: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Draw images side by side and the whole chart at their right."""
    width, height = size
    chart = ImageOps.contain(chart, (width, height))
    page = Image.new("RGB", size, "white")
    page.paste(side_by_side(panels, (width - chart.width - GAP, height)), (0, 0))
    page.paste(chart, (width - chart.width, 0))
    return page


def save(image: Image.Image, path: Path) -> None:
    """Write a JPEG file and print its name."""
    image.convert("RGB").save(path, quality=QUALITY, optimize=True, progressive=True)
    print(path.relative_to(ROOT), image.size)  # noqa: T201


def write_cards(studio: Studio) -> None:
    """Write the images of the workflows, and those of the help pages and the README that show the same results."""
    cards = ROOT / "workflows"

    images, texts = studio.run("Restore a photo", "chelsea.png")
    pair = [("before", studio.input("chelsea.png")), ("after", images["SaveImage"])]
    save(side_by_side(pair, CARD), cards / "Restore a photo.jpg")
    save(side_by_side(pair, CARD), cards / "Restore a photo with one node.jpg")
    save(side_by_side(pair, PAGE), HELP / "MoFE_Restore.jpg")
    three = [*pair, ("original", studio.input("chelsea.jpg"))]
    title = f"{EXAMPLES[1].title}. Seen: {texts['Description']}"
    comparison = draw_comparison([(text, to_tensor(image)) for text, image in three], title)
    save(comparison, ROOT / "docs" / "before_after.jpg")

    images, _ = studio.run("Restore and explain", "coffee.png")
    pair, chart = (
        [("before", studio.input("coffee.png")), ("after", images["SaveImage"])],
        images["MoFE_ShowRouting"],
    )
    save(beside_chart(pair, chart, CARD), cards / "Restore and explain.jpg")
    save(chart, HELP / "MoFE_ShowRouting.jpg")

    images, _ = studio.run("Steer - keep the fog", "rocket.png")
    three = [("photo", studio.input("rocket.png"))]
    three += [("everything removed", images["Everything removed"]), ("fog kept", images["Fog kept"])]
    save(side_by_side(three, CARD), cards / "Steer - keep the fog.jpg")
    save(side_by_side(three, PAGE), HELP / "MoFE_SteerRestoration.jpg")

    images, _ = studio.run("Test on a degraded photo", "coffee.jpg")
    three = [
        ("photo", studio.input("coffee.jpg")),
        ("degraded", images["Degraded"]),
        ("restored", images["SaveImage"]),
    ]
    save(side_by_side(three, CARD), cards / "Test on a degraded photo.jpg")
    save(side_by_side(three[:2], PAGE), HELP / "MoFE_DegradeImage.jpg")

    for name, photo, text in (
        ("Restore, then upscale", "astronaut", "then enlarged\nby your\nupscale model"),
        ("Restore, then diffusion detail", "chelsea", "then new detail\nby your\ndiffusion model"),
    ):
        images, _ = studio.run(name, f"{photo}.png")
        pair = [("photo", studio.input(f"{photo}.png")), ("restored", images["Before and after"])]
        save(side_by_side([*pair, (text, None)], CARD), cards / f"{name}.jpg")

    images, _ = studio.run("Guide with your own vision model", "rocket.png")
    panels: list[Panel] = [("photo", studio.input("rocket.png")), ("seen by\nyour own\nvision model", None)]
    panels += [("restored (shipped model)", images["Before and after"])]
    save(side_by_side(panels, CARD), cards / "Guide with your own vision model.jpg")

    studio.make_video("rocket.jpg", "rain.mp4")
    first, later = studio.frames("Restore a video", "rain.mp4", (0, 6))
    half = (CARD[0], (CARD[1] - GAP) // 2)
    rows = [
        side_by_side([(f"{text}, frame 1", first[place]), (f"{text}, frame 7", later[place])], half)
        for place, text in enumerate(("before", "after"))
    ]
    save(stack(rows), cards / "Restore a video.jpg")


def write_nodes(studio: Studio) -> None:
    """Write the images of nodes in the help pages, as they look after a run."""
    wanted = {
        "MoFE_LoadMLLM": ("MoFE_LoadMLLM", "MoFE_DescribeDegradation"),
        "MoFE_DescribeDegradation": ("LoadImage", "MoFE_DescribeDegradation", "PreviewAny"),
        "MoFE_LoadRestorer": ("MoFE_LoadRestorer", "MoFE_Restore"),
    }
    with browser.open_page(studio.server.url, vue=True, size=(2000, 1200)) as page:
        page.drop(with_photo("Restore a photo", "chelsea.png"))
        page.press_run()
        assert page.wait_for_end()["kind"] == "execution_success"
        page.whole_workflow()
        for name, types in wanted.items():
            save(page.image_of(types), HELP / f"{name}.jpg")


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an image to [1, 3, H, W] in 0..1."""
    with tempfile.TemporaryDirectory() as folder:
        image.save(Path(folder) / "image.png")
        return read_image(Path(folder) / "image.png").rgb


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every image; return the exit status."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None).parse_args(arguments)
    missing = [name for name in ("COMFYUI_PATH", "COMFYUI_VENV") if not os.environ.get(name)]
    if missing:
        print(f"{' and '.join(missing)} not set: name a ComfyUI checkout and an environment in which it starts.")  # noqa: T201
        return 2
    base = Path(tempfile.mkdtemp())
    studio = Studio(base)
    try:
        write_cards(studio)
        without = browser.missing()
        if without:
            print(f"The images of nodes stay as they are: {without}.")  # noqa: T201
        else:
            write_nodes(studio)
    finally:
        studio.server.stop()
        shutil.rmtree(base, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

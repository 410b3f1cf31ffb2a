"""The pack in a real ComfyUI: its workflows, its errors, Cancel, and models in a second root."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from mofe_restore.tests.host.conftest import PACK_NAME
from mofe_restore.tests.host.object_info import GOLDEN, essence
from mofe_restore.tests.host.server import Rejected, Server, events, to_prompt

WORKFLOWS = ["Restore a photo", "Restore and explain", "Steer - keep the fog", "Test on a degraded photo"]
CHAINED = ["Restore, then diffusion detail", "Restore, then upscale"]
ONE_NODE = "Restore a photo with one node"
"""The workflow of the blueprint, whose subgraph only the front end takes apart."""
OWN_MODEL = "Guide with your own vision model"
ALL_WORKFLOWS = sorted([*WORKFLOWS, *CHAINED, "Restore a video", ONE_NODE, OWN_MODEL])
NODES = [
    *("MoFE_LoadMLLM", "MoFE_DescribeDegradation", "MoFE_LoadRestorer", "MoFE_Restore", "MoFE_ShowRouting"),
    *("MoFE_SteerRestoration", "MoFE_DegradeImage", "MoFE_DegradationMask", "MoFE_AlignMLLM"),
]


WRITING_CLIPS = [
    *(("qwen3vl_4b_fp8_scaled", kind) for kind in ("stable_diffusion", "krea2", "mage")),
    *(("qwen3vl_8b", kind) for kind in ("stable_diffusion", "ideogram4", "boogu", "joyimage")),
    ("qwen3vl_32b_minimax", "minimax"),
    ("qwen3.5_2b_bf16", "stable_diffusion"),
    ("gemma_3_4b_it", "stable_diffusion"),
    ("gemma_3_12b_it", "ltxv"),
    *((f"gemma_4_{size}_it", "stable_diffusion") for size in ("e2b", "e4b", "12b", "31b")),
    ("gemma_4_12b_ltx", "ltxv"),
]
"""Vision models of `tiny_clips`, and the type with which Load CLIP opens them."""
READING_CLIPS = [("qwen_2.5_vl_7b", kind) for kind in ("qwen_image", "hunyuan_image", "longcat_image")]
"""Those to which ComfyUI gives no words."""


def workflow(root: Path, name: str) -> dict[str, Any]:
    return json.loads((root / "workflows" / f"{name}.json").read_text(encoding="utf-8"))


def outputs_of(prompt: dict[str, Any], outputs: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [outputs[number] for number, node in prompt.items() if node["class_type"] == kind]


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def small_prompt(**restore: Any) -> dict[str, Any]:
    """Restores the example image with the models of the second root."""
    return {
        "photo": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "mllm": {"class_type": "MoFE_LoadMLLM", "inputs": {"model": "owner/tiny", "precision": "auto"}},
        "describe": {
            "class_type": "MoFE_DescribeDegradation",
            "inputs": {"mllm": ["mllm", 0], "image": ["photo", 0], "frames": "every frame"},
        },
        "restorer": {"class_type": "MoFE_LoadRestorer", "inputs": {"model": "tiny.safetensors", "precision": "fp32"}},
        "restore": {
            "class_type": "MoFE_Restore",
            "inputs": {
                "restorer": ["restorer", 0],
                "image": ["photo", 0],
                "guidance": ["describe", 0],
                "strength": 1.0,
                "tile_size": 0,
                **restore,
            },
        },
        "save": {"class_type": "SaveImage", "inputs": {"images": ["restore", 0], "filename_prefix": "small"}},
    }


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_runs(server: Server, root: Path, name: str) -> None:
    prompt = to_prompt(workflow(root, name))
    outputs = server.run(prompt)
    before = pixels((server.base / "input" / "example.png").read_bytes())
    saved = outputs_of(prompt, outputs, "SaveImage")
    assert saved
    for each in saved:
        assert pixels(server.image(each["images"][0])).shape == before.shape
    assert all(text["text"][0] for text in outputs_of(prompt, outputs, "PreviewAny"))
    for chart in outputs_of(prompt, outputs, "MoFE_ShowRouting"):
        assert pixels(server.image(chart["images"][0])).std() > 10


def with_small_photo(prompt: dict[str, Any]) -> dict[str, Any]:
    for node in prompt.values():
        if node["class_type"] == "LoadImage":
            node["inputs"]["image"] = "small.png"
    return prompt


@pytest.mark.parametrize(("name", "width", "height"), [(CHAINED[0], 160, 128), (CHAINED[1], 640, 512)])
def test_a_workflow_runs_with_a_tiny_model_of_the_kind_that_it_names(
    server: Server, root: Path, name: str, width: int, height: int
) -> None:
    prompt = with_small_photo(to_prompt(workflow(root, name)))
    outputs = server.run(prompt)
    (saved,) = outputs_of(prompt, outputs, "SaveImage")
    result = pixels(server.image(saved["images"][0]))
    assert result.shape == (height, width, 3)
    assert result.std() > 1, "not one color, as a result that is not finite would be"
    (seen,) = outputs_of(prompt, outputs, "ImageCompare")
    assert pixels(server.image(seen["b_images"][0])).shape == (128, 160, 3)


def test_a_video_comes_back_with_its_frames_rate_and_size(server: Server, root: Path, video: str) -> None:
    prompt = to_prompt(workflow(root, "Restore a video"))
    (saved,) = outputs_of(prompt, server.run(prompt), "SaveVideo")
    (server.base / "input" / "restored.mp4").write_bytes(server.image(saved["images"][0]))
    shown = {}
    for file in (video, "restored.mp4"):
        again = server.run(
            {
                "load": {"class_type": "LoadVideo", "inputs": {"file": file}},
                "parts": {"class_type": "GetVideoComponents", "inputs": {"video": ["load", 0]}},
                "see": {"class_type": "PreviewImage", "inputs": {"images": ["parts", 0]}},
                "rate": {"class_type": "PreviewAny", "inputs": {"source": ["parts", 2]}},
            }
        )
        frames = [pixels(server.image(each)) for each in again["see"]["images"]]
        shown[file] = [len(frames), frames[0].shape, again["rate"]["text"][0]]
    assert shown["restored.mp4"] == shown[video] == [6, (128, 160, 3), "12.0"]


@pytest.mark.field
def test_row6_the_video_workflow_opens_with_a_clip_that_is_there(server: Server, root: Path) -> None:
    brought = (root / "workflows" / "example.mp4").read_bytes()
    assert (server.base / "input" / "example.mp4").exists()
    offered = server.get("/object_info")["LoadVideo"]["input"]["required"]["file"]
    assert "example.mp4" in json.dumps(offered) and len(brought) > 1000


def test_one_guidance_for_a_video_says_what_was_seen_in_a_typical_frame(server: Server, root: Path, video: str) -> None:
    prompt = to_prompt(workflow(root, "Restore a video"))
    (describe,) = [node for node in prompt.values() if node["class_type"] == "MoFE_DescribeDegradation"]
    assert describe["inputs"]["frames"] == "typical frame"
    (description,) = outputs_of(prompt, server.run(prompt), "PreviewAny")
    assert "\n" not in description["text"][0], "one description, not a numbered line per frame"


def with_few_pictures(graph: dict[str, Any]) -> dict[str, Any]:
    """An alignment with the fewest degraded pictures."""
    for node in graph["nodes"]:
        if node["type"] == "MoFE_AlignMLLM":
            node["widgets_values"][0] = 16
    return graph


@pytest.mark.parametrize("clip", ["qwen3vl_4b_fp8_scaled.safetensors", "qwen3.5_2b_bf16.safetensors"])
def test_a_vision_model_of_comfyui_is_aligned_once_and_guides(
    server: Server, root: Path, second_root: Path, clip: str
) -> None:
    graph = with_few_pictures(workflow(root, OWN_MODEL))
    leaks_of_earlier_tests = leaks_in(server)
    prompt = with_small_photo(to_prompt(graph))
    (load,) = [node for node in prompt.values() if node["class_type"] == "CLIPLoader"]
    load["inputs"]["clip_name"] = clip
    outputs = server.run(prompt)
    texts = {
        node["title"]: outputs[str(node["id"])]["text"][0] for node in graph["nodes"] if node["type"] == "PreviewAny"
    }
    report = json.loads(texts["Alignment (JSON)"])
    assert report["mllm"].startswith("CLIP Qwen3") and set(report["psnr"]) == {"none", "aligned", "own"}
    assert texts["Description"]
    (saved,) = outputs_of(prompt, outputs, "SaveImage")
    assert pixels(server.image(saved["images"][0])).shape == (128, 160, 3)

    (adapter,) = [path for base in (server.base, second_root) for path in base.rglob(report["adapter"])]
    made = adapter.stat().st_mtime_ns
    server.post("/free", {"unload_models": True, "free_memory": True})
    (restore,) = [node for node in prompt.values() if node["class_type"] == "MoFE_Restore"]
    restore["inputs"]["strength"] = 0.5
    server.run(prompt)
    assert adapter.stat().st_mtime_ns == made, "it is found, not made again"
    assert leaks_in(server) - leaks_of_earlier_tests < 4, (
        "not one for each picture: the restorer's own model keeps its patcher"
    )


def clip_prompt(name: str, kind: str) -> dict[str, Any]:
    """Loads a CLIP for Describe."""
    load = {"clip_name": f"{name}.safetensors", "type": kind, "device": "default"}
    mllm = {"model": "shipped default", "precision": "auto", "clip": ["clip", 0]}
    return {
        "photo": {"class_type": "LoadImage", "inputs": {"image": "small.png"}},
        "clip": {"class_type": "CLIPLoader", "inputs": load},
        "mllm": {"class_type": "MoFE_LoadMLLM", "inputs": mllm},
        **described("as it is", "mllm"),
    }


def described(title: str, mllm: str) -> dict[str, Any]:
    """Describes the photo of `clip_prompt`, and shows the report."""
    inputs = {"mllm": [mllm, 0], "image": ["photo", 0], "frames": "every frame"}
    return {
        title: {"class_type": "MoFE_DescribeDegradation", "inputs": inputs},
        f"report {title}": {"class_type": "PreviewAny", "inputs": {"source": [title, 2]}},
    }


def aligned_prompt(name: str, kind: str) -> dict[str, Any]:
    """The same, but aligned: describes, and restores with this guidance."""
    restorer = {"restorer": ["restorer", 0]}
    guide = {**restorer, "image": ["photo", 0], "guidance": ["aligned", 0], "strength": 1.0, "tile_size": 0}
    prompt = {
        **clip_prompt(name, kind),
        "restorer": small_prompt()["restorer"],
        "align": {
            "class_type": "MoFE_AlignMLLM",
            "inputs": {"mllm": ["mllm", 0], **restorer, "pictures": 16, "again": True},
        },
        "fit": {"class_type": "PreviewAny", "inputs": {"source": ["align", 1]}},
        **described("aligned", "align"),
        "restore": {"class_type": "MoFE_Restore", "inputs": guide},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["restore", 0], "filename_prefix": "own"}},
    }
    if (name, kind) in READING_CLIPS:
        del prompt["as it is"], prompt["report as it is"]
    return prompt


def forget_adapters(*folders: Path) -> None:
    """Remove the adapters that other tests have made: Load MLLM would find them."""
    for folder in folders:
        for adapter in folder.rglob("adapters/*.safetensors"):
            adapter.unlink()


@pytest.mark.parametrize(("name", "kind"), [*WRITING_CLIPS, *READING_CLIPS])
def test_every_vision_model_of_comfyui_is_described_aligned_and_guides(
    server: Server, second_root: Path, name: str, kind: str
) -> None:
    forget_adapters(server.base, second_root)
    outputs = server.run(aligned_prompt(name, kind))
    fit = json.loads(outputs["fit"]["text"][0])
    assert fit["mllm"].startswith("CLIP ") and set(fit["psnr"]) == {"none", "aligned", "own"}
    (aligned,) = json.loads(outputs["report aligned"]["text"][0])
    assert aligned["description"] and aligned["mllm"] == fit["restorer's mllm"]
    assert pixels(server.image(outputs["save"]["images"][0])).shape == (128, 160, 3)
    if (name, kind) in WRITING_CLIPS:
        (plain,) = json.loads(outputs["report as it is"]["text"][0])
        assert plain["mllm"] == fit["mllm"] and set(plain["scores"].values()) <= {0.0, 0.75}


@pytest.mark.parametrize(
    ("name", "kind", "node", "message"),
    [
        (*READING_CLIPS[0], "as it is", "reads images but writes no text"),
        ("qwen3vl_4b_fp8_scaled", "flux2", "mllm", "does not read images"),
    ],
)
def test_what_a_clip_cannot_do_is_said_in_one_sentence(
    server: Server, second_root: Path, name: str, kind: str, node: str, message: str
) -> None:
    forget_adapters(server.base, second_root)
    error = events(server.wait(server.queue(clip_prompt(name, kind))))["execution_error"]
    assert error["node_id"] == node and message in error["exception_message"]
    assert error["exception_message"].strip().count("\n") == 0


def leaks_in(server: Server) -> int:
    """How often ComfyUI found a model that something still holds after it was let go."""
    return server.log.read_text(errors="replace").count("memory leak")


@pytest.mark.parametrize("name", [*CHAINED, OWN_MODEL])
def test_a_model_that_the_pack_does_not_bring_can_be_fetched_from_where_it_is_public(root: Path, name: str) -> None:
    loaders = [node for node in workflow(root, name)["nodes"] if "models" in node["properties"]]
    assert len(loaders) == 1
    for node in loaders:
        (model,) = node["properties"]["models"]
        assert node["widgets_values"][0] == model["name"]
        assert model["url"].startswith("https://huggingface.co/Comfy-Org/") and model["url"].endswith(model["name"])
        assert model["directory"] in ("checkpoints", "upscale_models", "text_encoders")


@pytest.mark.parametrize("name", ALL_WORKFLOWS)
def test_a_workflow_names_every_input_in_the_schemas_order(server: Server, root: Path, name: str) -> None:
    schemas = server.get("/object_info")
    for node in workflow(root, name)["nodes"]:
        if node["type"] in NODES:
            order = schemas[node["type"]]["input_order"]
            widgets = [port["name"] for port in node["inputs"] if "widget" in port]
            declared = [*order.get("required", []), *order.get("optional", [])]
            assert {port["name"] for port in node["inputs"]} == set(declared)
            assert widgets == [port for port in declared if port in widgets]
            assert len(node["widgets_values"]) == len(widgets) + ("seed" in widgets)  # and its "control after generate"


def test_every_input_and_output_is_explained(server: Server) -> None:
    schemas = server.get("/object_info")
    for name in NODES:
        schema = schemas[name]
        for group in ("required", "optional"):
            for port, details in schema["input"].get(group, {}).items():
                assert details[1].get("tooltip"), f"{name}.{port}"
        assert len(schema["output_tooltips"]) == len(schema["output"])
        assert all(schema["output_tooltips"]), name
        assert schema["description"]


def test_help_pages_are_served_with_their_images(plain_server: Server) -> None:
    for name, schema in plain_server.get("/object_info").items():
        if name in NODES:
            page = plain_server.help_page("mofe-restore", name)
            assert page.startswith(f"# {schema['display_name']}\n")
            (image,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
            data = plain_server.get_bytes(f"/extensions/mofe-restore/docs/{image}")
            assert Image.open(io.BytesIO(data)).width >= 300


def test_the_workflows_are_offered_as_templates(server: Server) -> None:
    assert sorted(server.get("/workflow_templates")[PACK_NAME]) == ALL_WORKFLOWS


@pytest.mark.parametrize("name", ALL_WORKFLOWS)
def test_a_template_has_its_image(plain_server: Server, name: str) -> None:
    data = plain_server.get_bytes(f"/api/workflow_templates/mofe-restore/{quote(name)}.jpg")
    assert Image.open(io.BytesIO(data)).size == (1280, 720)


def test_what_scripts_and_saved_workflows_depend_on_is_as_it_was(server: Server) -> None:
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert essence(server.get("/object_info")) == expected, "if meant: python -m mofe_restore.tests.host.object_info"


def test_the_pack_is_imported_in_less_than_half_a_second(server: Server) -> None:
    log = server.log.read_text(encoding="utf-8", errors="replace")
    (seconds,) = re.findall(rf"([0-9.]+) seconds: \S*{re.escape(str(server.base / 'custom_nodes' / PACK_NAME))}", log)
    assert float(seconds) < 0.5


def test_the_blueprint_is_offered(server: Server) -> None:
    offered = [each for each in server.get("/global_subgraphs").values() if each["source"] == "custom_node"]
    assert [each["name"] for each in offered] == ["Restore Photo (MoFE)"]


def test_the_texts_are_served_in_chinese(server: Server) -> None:
    texts = server.get("/i18n")["zh"]["nodeDefs"]
    assert set(NODES) <= set(texts)


def test_models_of_a_second_root_are_found_and_run(server: Server) -> None:
    offered = server.get("/object_info")
    assert offered["MoFE_LoadRestorer"]["input"]["required"]["model"][1]["options"][0] == "shipped default"
    assert len(server.run(small_prompt())["save"]["images"]) == 1


def test_no_strength_gives_the_input(server: Server) -> None:
    saved = server.run(small_prompt(strength=0.0))["save"]["images"][0]
    before = pixels((server.base / "input" / "example.png").read_bytes())
    assert abs(pixels(server.image(saved)) - before).max() <= 1  # saved images are cut to 8 bits


def test_tiles_leave_no_trace(server: Server) -> None:
    whole, tiled = (
        pixels(server.image(server.run(small_prompt(tile_size=size))["save"]["images"][0])) for size in (0, 256)
    )
    assert abs(whole - tiled).max() <= 1


def test_guidance_of_another_mllm_is_refused_in_one_sentence(server: Server) -> None:
    prompt = small_prompt()
    prompt["restorer"]["inputs"]["model"] = "shipped default"
    error = events(server.wait(server.queue(prompt)))["execution_error"]
    assert error["node_id"] == "restore"
    assert "was trained with" in error["exception_message"]
    assert error["exception_message"].strip().count("\n") == 0


@pytest.mark.parametrize("model", ["../../secret.safetensors", "gone.safetensors"])
def test_a_model_that_is_not_offered_is_rejected(server: Server, model: str) -> None:
    prompt = small_prompt()
    prompt["restorer"]["inputs"]["model"] = model
    with pytest.raises(Rejected, match="not in list"):
        server.queue(prompt)


def test_cancel_stops_between_tiles_and_the_next_run_works(server: Server) -> None:
    prompt = small_prompt(tile_size=64)
    prompt["photo"] = {
        "class_type": "EmptyImage",
        "inputs": {"width": 2048, "height": 2048, "batch_size": 4, "color": 4210752},
    }
    del prompt["restore"]["inputs"]["guidance"]  # so that the wait is over within the restoration, on any machine
    number = server.queue(prompt)
    time.sleep(4)
    assert server.get("/queue")["queue_running"], "it ended before it could be cancelled"
    pressed = time.monotonic()
    server.post("/interrupt", {})
    interrupted = events(server.wait(number))["execution_interrupted"]
    assert time.monotonic() - pressed < 10
    assert interrupted["node_id"] == "restore"
    assert server.run(small_prompt(strength=0.5))["save"]["images"]


def opaque_files(server: Server) -> dict[str, str]:
    """Opaque files of one picture by kind, in the input folder."""
    folder, photo = server.base / "input", Image.open(server.base / "input" / "photo.png")
    photo.convert("CMYK").save(folder / "opaque cmyk.jpg", quality=95)
    photo.convert("LA").save(folder / "opaque grey.png")
    photo.convert("RGBA").save(folder / "opaque.png")
    return {"cmyk": "opaque cmyk.jpg", "grey": "opaque grey.png", "rgba": "opaque.png", "rgb": "photo.png"}


@pytest.mark.field
@pytest.mark.parametrize("kind", ["cmyk", "grey", "rgba", "rgb"])
def test_row1_an_opaque_image_is_repaired_with_its_mask_connected(server: Server, kind: str) -> None:
    name = opaque_files(server)[kind]
    texts = []
    for mask in ({}, {"mask": ["photo", 1]}):
        prompt = small_prompt(**mask)
        prompt["photo"]["inputs"]["image"] = name
        prompt["before"] = {"class_type": "PreviewImage", "inputs": {"images": ["photo", 0]}}
        outputs = server.run(prompt)
        before, after = (pixels(server.image(outputs[node]["images"][0])) for node in ("before", "save"))
        assert abs(before - after).max() > 10
        texts.append(outputs["restore"]["text"][0])
    assert texts[0].startswith("Repaired.") and texts[1].startswith(texts[0])
    assert ("counts as no mask" in texts[1]) == (kind != "rgb")


@pytest.mark.field
def test_row1_a_black_mask_is_obeyed_and_said(server: Server) -> None:
    prompt = small_prompt(mask=["black", 0])
    prompt["photo"]["inputs"]["image"] = "photo.png"
    prompt["black"] = {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 384, "height": 384}}
    outputs = server.run(prompt)
    assert outputs["restore"]["text"][0].startswith("Nothing was changed: the mask is black everywhere.")


@pytest.mark.field
def test_row4_errors_read_well(server: Server) -> None:
    with pytest.raises(Rejected, match="The tile size is 10: give 64 to 8192 px, or 0 to choose it by the image"):
        server.queue(small_prompt(tile_size=10))
    prompt = small_prompt(mask=["masks", 0])
    prompt |= {
        "white": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 32, "batch_size": 2, "color": 0}},
        "masks": {"class_type": "ImageToMask", "inputs": {"image": ["white", 0], "channel": "red"}},
    }
    error = events(server.wait(server.queue(prompt)))["execution_error"]
    assert error["exception_type"] == "mofe_restore.model.errors.RestorationError"
    assert error["exception_message"].strip() == "There are 2 masks for 1 image: give one mask."


@pytest.mark.field
def test_row7_the_nodes_lie_where_comfyui_has_its_own(server: Server) -> None:
    schemas = server.get("/object_info")
    assert schemas["MoFE_LoadRestorer"]["category"] == schemas["UpscaleModelLoader"]["category"]
    assert schemas["MoFE_Restore"]["category"] == "image/restoration"


@pytest.mark.field
def test_row8_a_mask_says_where_and_can_be_chained(server: Server) -> None:
    prompt = small_prompt()
    prompt["photo"]["inputs"]["image"] = "small.png"
    prompt |= {
        "where": {
            "class_type": "MoFE_DegradationMask",
            "inputs": {
                "restorer": ["restorer", 0],
                "image": ["photo", 0],
                "guidance": ["describe", 0],
                "degradation": "noise",
            },
        },
        "pasted": {
            "class_type": "ImageCompositeMasked",
            "inputs": {
                **{"destination": ["photo", 0], "source": ["restore", 0], "mask": ["where", 0]},
                **{"x": 0, "y": 0, "resize_source": False},
            },
        },
        "see": {"class_type": "PreviewImage", "inputs": {"images": ["pasted", 0]}},
    }
    outputs = server.run(prompt)
    assert pixels(server.image(outputs["where"]["images"][0])).shape == (128, 160, 3)
    assert pixels(server.image(outputs["see"]["images"][0])).shape == (128, 160, 3)


@pytest.mark.field
def test_row9_below_the_threshold_the_image_is_left_alone_and_the_run_says_so(server: Server) -> None:
    outputs = server.run(small_prompt(threshold=1.0))
    before = pixels((server.base / "input" / "example.png").read_bytes())
    assert abs(pixels(server.image(outputs["save"]["images"][0])) - before).max() == 0
    assert outputs["restore"]["text"][0].startswith("Left alone, bit by bit")


def test_models_can_be_unloaded_between_runs(server: Server) -> None:
    server.run(small_prompt(strength=0.6))
    server.post("/free", {"unload_models": True, "free_memory": True})
    assert server.run(small_prompt(strength=0.7))["save"]["images"]


def test_nothing_outside_of_this_machine_is_called(server: Server) -> None:
    """Over all that this file did with the server before."""
    assert server.run(small_prompt(strength=0.9))["save"]["images"]
    noted = server.base / "connections"
    lines = [json.loads(line) for line in noted.read_text(encoding="utf-8").splitlines()] if noted.exists() else []
    ours = [line for line in lines if any(f"custom_nodes/{PACK_NAME}/" in name for name in line["callers"])]
    abroad = [line for line in lines if not re.search(r"127\.0\.0\.1|localhost|::1|0\.0\.0\.0", line["address"])]
    assert ours == []
    assert abroad == []


def test_the_watcher_would_note_a_call(server: Server, tmp_path: Path) -> None:
    python = Path(os.environ["COMFYUI_VENV"]) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    noted = tmp_path / "connections"
    names = {**os.environ, "PYTHONPATH": str(server.base / "watcher"), "MOFE_CONNECTIONS": str(noted)}
    call = "import socket; s = socket.socket(); s.settimeout(0.1); s.connect_ex(('192.0.2.1', 80))"
    subprocess.run([str(python), "-c", call], env=names, check=True)  # noqa: S603
    assert "192.0.2.1" in noted.read_text(encoding="utf-8")

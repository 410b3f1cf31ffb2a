"""What ComfyUI tells the front end of the nodes, as far as saved workflows and scripts depend on it.

    COMFYUI_PATH=... COMFYUI_VENV=... python -m mofe_restore.tests.host.object_info

writes it anew to `object_info.json`: after a change that was meant. The test compares.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from mofe_restore.tests.host.server import Server, copy_pack

GOLDEN = Path(__file__).with_name("object_info.json")
ROOT = Path(__file__).resolve().parents[2]
MODELS = "model"
"""The input whose choices depend on what is installed."""
KEPT = ("default", "min", "max", "step", "multiline", "options")


def essence(object_info: dict[str, Any]) -> dict[str, Any]:
    """Names, types, order, limits and defaults of our nodes, without texts and without what a newer ComfyUI adds."""
    return {name: _node(schema) for name, schema in sorted(object_info.items()) if name.startswith("MoFE_")}


def _node(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "display_name": schema["display_name"],
        "category": schema["category"],
        "output_node": schema["output_node"],
        "inputs": {
            group: {name: _input(name, *schema["input"][group][name]) for name in schema["input_order"][group]}
            for group in ("required", "optional")
            if schema["input_order"].get(group)
        },
        "outputs": [list(pair) for pair in zip(schema["output_name"], schema["output"], strict=True)],
    }


def _input(name: str, kind: Any, details: dict[str, Any]) -> dict[str, Any]:
    if isinstance(kind, list):  # the older form of a choice
        kind, details = "COMBO", {**details, "options": kind}
    kept = {key: details[key] for key in KEPT if key in details and details[key] not in (None, False)}
    if name == MODELS:
        kept["options"] = kept["options"][:1]
    return {"type": kind, **kept}


def main() -> int:
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None).parse_args()
    base = Path(tempfile.mkdtemp())
    copy_pack(ROOT, base / "custom_nodes" / "mofe-restore")
    server = Server(Path(os.environ["COMFYUI_PATH"]), Path(os.environ["COMFYUI_VENV"]), base)
    try:
        text = json.dumps(essence(server.get("/object_info")), indent=2) + "\n"
    finally:
        server.stop()
        shutil.rmtree(base, ignore_errors=True)
    GOLDEN.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

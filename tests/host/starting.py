"""Loads the pack as ComfyUI does at start, in a real ComfyUI without a server, and prints as JSON what that took.

    python starting.py COMFYUI PACK

Run by the tests in ComfyUI's environment, which has no pytest.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any


async def load(pack: Path) -> dict[str, Any]:
    """The load itself; ComfyUI and torch are imported before, and the loop's own sockets are open."""
    import torch

    comfy_nodes = importlib.import_module("nodes")
    before, registered = set(sys.modules), set(comfy_nodes.NODE_CLASS_MAPPINGS)
    built: list[str] = []
    sockets: list[str] = []
    original = torch.nn.Module.__init__

    def counted(self: torch.nn.Module, *args: Any, **more: Any) -> None:
        built.append(type(self).__name__)
        original(self, *args, **more)

    def audit(event: str, _: tuple[Any, ...]) -> None:
        if event.startswith("socket."):
            sockets.append(event)

    torch.nn.Module.__init__ = counted  # type: ignore[method-assign]
    sys.addaudithook(audit)
    wall, cpu = time.perf_counter(), time.thread_time()
    loaded = await comfy_nodes.load_custom_node(str(pack))
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    return {
        "loaded": loaded,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "modules": sorted(set(sys.modules) - before),
        "nodes": sorted(set(comfy_nodes.NODE_CLASS_MAPPINGS) - registered),
        "networks": built,
        "sockets": sockets,
    }


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    importlib.import_module("comfy.cli_args").args.cpu = True
    sys.stdout.write(json.dumps(asyncio.run(load(Path(sys.argv[2])))) + "\n")

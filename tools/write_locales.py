"""Write locales/en/nodeDefs.json from the schemas of the nodes: `python -m mofe_restore.tools.write_locales`."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..tests.nodes.standins import Host

LOCALES = Path(__file__).resolve().parents[1] / "locales"


def english(nodes: ModuleType) -> dict[str, Any]:
    """Return the texts of every node in the form of `nodeDefs.json`, which ComfyUI's front end reads.

    Args:
        nodes: The package of nodes.
    """
    schemas = [node.define_schema() for node in asyncio.run(nodes.MofeRestoreExtension().get_node_list())]
    return {
        schema.node_id: {
            "display_name": schema.display_name,
            "description": schema.description,
            "inputs": {port.id: {"name": port.id, "tooltip": port.tooltip} for port in schema.inputs},
            "outputs": {
                str(number): {"name": port.id, "tooltip": port.tooltip} for number, port in enumerate(schema.outputs)
            },
        }
        for schema in schemas
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file; stand-ins take the place of ComfyUI."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None).parse_args(arguments)
    sys.modules.update(Host(Path("models")).modules)
    nodes = importlib.import_module("..nodes", __package__)
    importlib.import_module("..nodes.model_paths", __package__).register_folders()
    text = json.dumps(english(nodes), indent=2, ensure_ascii=False) + "\n"
    (LOCALES / "en" / "nodeDefs.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

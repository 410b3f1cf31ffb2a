"""Writes locales/en/nodeDefs.json from the schemas: `python -m mofe_restore.tests.nodes.write_locales`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from mofe_restore.tests.nodes.standins import Host

LOCALES = Path(__file__).resolve().parents[2] / "locales"


def english(nodes: ModuleType) -> dict[str, Any]:
    """What `nodeDefs.json` says of every node, in the form that ComfyUI's front end reads."""
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


def main() -> None:
    sys.modules.update(Host(Path("models")).modules)
    import mofe_restore.nodes
    from mofe_restore.nodes.folders import register_folders

    register_folders()
    text = json.dumps(english(mofe_restore.nodes), indent=2, ensure_ascii=False) + "\n"
    (LOCALES / "en" / "nodeDefs.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""MoFE Restore: repair photographs under the guidance of a multimodal language model (MLLM).

A Python library, a command (`mofe`) and a ComfyUI node pack. The names in `__all__` are the public Python API; they are
imported when they are first used, so that importing the package inside ComfyUI costs nothing.

Example:
    >>> import mofe_restore as mofe
    >>> mofe.restore("holiday.jpg").save("restored.png")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

    from .model.errors import MofeError
    from .model.guidance import Guidance
    from .model.image_files import read_image, write_image
    from .model.inference.routing import Routing
    from .model.inference.tiled import Restoration
    from .model.mllm.describer import Mllm
    from .model.mllm.loading import load_mllm
    from .model.pipeline import RestorationPipeline, restore
    from .model.restorer.config import RestorerConfig
    from .model.restorer.loading import load_restorer
    from .model.restorer.network import Restorer
    from .model.synthesis.degrade import degrade
    from .model.synthesis.severities import Severities
    from .model.vocabulary import DEGRADATIONS

__version__ = "0.1.0"

__all__ = [
    "DEGRADATIONS",
    "Guidance",
    "Mllm",
    "MofeError",
    "Restoration",
    "RestorationPipeline",
    "Restorer",
    "RestorerConfig",
    "Routing",
    "Severities",
    "__version__",
    "degrade",
    "load_mllm",
    "load_restorer",
    "read_image",
    "restore",
    "write_image",
]

_MODULES = {
    "DEGRADATIONS": "vocabulary",
    "Guidance": "guidance",
    "Mllm": "mllm.describer",
    "MofeError": "errors",
    "Restoration": "inference.tiled",
    "RestorationPipeline": "pipeline",
    "Restorer": "restorer.network",
    "RestorerConfig": "restorer.config",
    "Routing": "inference.routing",
    "Severities": "synthesis.severities",
    "degrade": "synthesis.degrade",
    "load_mllm": "mllm.loading",
    "load_restorer": "restorer.loading",
    "read_image": "image_files",
    "restore": "pipeline",
    "write_image": "image_files",
}

WEB_DIRECTORY = "./web"
"""Where ComfyUI finds the help pages of the nodes."""


def __getattr__(name: str) -> Any:
    """Import a name of the public API when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".model.{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of the public API beside those that are loaded."""
    return sorted({*globals(), *__all__})


async def comfy_entrypoint() -> ComfyExtension:
    """Return the nodes; ComfyUI calls it when it loads the pack, and nothing else imports them."""
    from .nodes import MofeRestoreExtension

    return MofeRestoreExtension()

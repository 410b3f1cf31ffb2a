"""The one place for what differs between versions of ComfyUI (0.16 to today).

A keyword that a version does not know would raise while the nodes are registered, and all of them would be missing.
"""

from __future__ import annotations

import inspect
from typing import Any

from comfy_api.latest import io


def known(kind: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that a class or function takes in this version of ComfyUI; it can do without the rest."""
    parameters = inspect.signature(kind).parameters
    return {name: value for name, value in settings.items() if name in parameters}


def node_schema(**settings: Any) -> io.Schema:
    """A schema, without the aliases and the like that an older ComfyUI does not know."""
    return io.Schema(**known(io.Schema, settings))


def advanced_input(kind: type, name: str, **settings: Any) -> Any:
    """An optional input that a ComfyUI which can does not show at first."""
    return kind(name, optional=True, **known(kind, {**settings, "advanced": True}))

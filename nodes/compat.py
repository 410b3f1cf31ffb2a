"""Differences between the versions of ComfyUI, from 0.16 on; they are handled here only.

A keyword that a version does not know would raise an error while the nodes are registered, and all of them would be
missing.
"""

from __future__ import annotations

import inspect
from typing import Any

from comfy_api.latest import io


def known(kind: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Return those of the settings that a class or function takes in this version of ComfyUI."""
    parameters = inspect.signature(kind).parameters
    return {name: value for name, value in settings.items() if name in parameters}


def node_schema(**settings: Any) -> io.Schema:
    """Return a schema, without settings (such as aliases) that an older ComfyUI does not know."""
    return io.Schema(**known(io.Schema, settings))


def advanced_input(kind: type, name: str, **settings: Any) -> Any:
    """Return an optional input that is hidden among the advanced ones, where ComfyUI can do that."""
    return kind(name, optional=True, **known(kind, {**settings, "advanced": True}))

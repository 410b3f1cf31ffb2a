"""The texts of the nodes in other languages keep up with the nodes."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mofe_restore.tools.write_locales import LOCALES, english


def read(language: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def ports(texts: dict[str, Any]) -> dict[str, Any]:
    """Node -> the names of its inputs and outputs."""
    return {name: (list(node["inputs"]), list(node["outputs"])) for name, node in texts.items()}


def words(texts: Any) -> list[str]:
    return [texts] if isinstance(texts, str) else [word for part in texts.values() for word in words(part)]


def test_english_is_what_the_nodes_say(nodes: ModuleType) -> None:
    assert read("en") == english(nodes), "run python -m mofe_restore.tools.write_locales"


@pytest.mark.parametrize("language", sorted(path.name for path in LOCALES.iterdir() if path.name != "en"))
def test_every_language_has_every_node_and_port_with_words_of_its_own(language: str) -> None:
    assert ports(read(language)) == ports(read("en"))
    texts = words(read(language))
    assert all(texts)
    own = {"MLLM", "JSON"}
    assert not set(texts) & set(words(read("en"))) - own


def test_locales_are_files_that_comfyui_finds() -> None:
    files = sorted(path.relative_to(LOCALES) for path in LOCALES.rglob("*") if path.is_file())
    assert files == [Path("en/nodeDefs.json"), Path("zh/nodeDefs.json")]

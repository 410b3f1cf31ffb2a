"""Which files are videos, and what their results are called; the standard library is all that this needs."""

from __future__ import annotations

from pathlib import Path

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".3gp")
)
"""File name suffixes of videos."""

KEPT_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".mkv"))
"""Containers that are kept; everything else becomes .mkv, which takes any audio."""


def is_video(path: Path) -> bool:
    """Return whether a file is taken for a video, by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def video_name(path: Path) -> str:
    """Return the name of the result of a video."""
    return path.name if path.suffix.lower() in KEPT_SUFFIXES else f"{path.stem}.mkv"

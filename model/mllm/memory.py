"""What was seen in the latest images, so that no model looks at the same image twice.

A workflow in which a slider is moved, or an instruction changed, describes the same images again: embedding, scores and
words that are known are taken from here. It belongs to one model and goes with it.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from torch import Tensor

T = TypeVar("T")

REMEMBERED = 128
"""Entries that are kept: those of 64 images, with a description each. An entry has a megabyte for a large model."""


class OneObject:
    """A key that stands for one object and never for another, which may get its address after it is gone.

    Args:
        thing: The object, which is not kept alive: a network of gigabytes must not stay for what it once saw.
    """

    def __init__(self, thing: object) -> None:
        self._thing, self._hash = weakref.ref(thing), id(thing)

    def __hash__(self) -> int:
        """Return the address that the object had at first."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Return whether both stand for the same object, which still exists."""
        if not isinstance(other, OneObject):
            return NotImplemented
        thing = self._thing()
        return self is other or (thing is not None and thing is other._thing())


class Memory:
    """The latest results by key; the oldest are forgotten."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._known: OrderedDict[Hashable, Any] = OrderedDict()

    def recall(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned for this key, or call it now."""
        if key in self._known:
            self._known.move_to_end(key)
            return cast(T, self._known[key])
        made = make()
        self._known[key] = made
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return made

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()


def content_of(image: Tensor) -> str:
    """Return a digest of an image's shape and values."""
    values = image.detach().float().cpu().contiguous()
    return hashlib.sha256(repr(tuple(values.shape)).encode() + values.numpy().tobytes()).hexdigest()

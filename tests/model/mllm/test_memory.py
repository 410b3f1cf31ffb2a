"""What was seen in the latest images is not looked at again."""

from __future__ import annotations

import gc
import weakref

import torch

from mofe_restore.model.mllm.memory import Memory, OneObject, content_of


def test_what_is_known_is_not_made_again_and_the_oldest_is_forgotten() -> None:
    made: list[int] = []
    memory = Memory(size=2)

    def recall(key: int) -> int:
        return memory.recall(key, lambda: made.append(key) or key)

    assert [recall(key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2], "2 was the oldest when 3 came"


def test_an_error_is_not_remembered() -> None:
    memory = Memory()
    for _ in range(2):
        try:
            memory.recall("key", lambda: 1 // 0)
        except ZeroDivisionError:
            continue
    assert memory.recall("key", lambda: 5) == 5


def test_content_differs_by_values_and_by_shape() -> None:
    image = torch.rand(3, 4, 6)
    assert content_of(image) == content_of(image.clone())
    assert len({content_of(image), content_of(image.reshape(3, 6, 4)), content_of(image + 1e-6)}) == 3


class Thing:
    """Anything; all things are equal."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_an_object_as_a_key_is_itself_and_not_one_that_is_equal() -> None:
    one, other, memory = Thing(), Thing(), Memory()
    assert OneObject(one) == OneObject(one) and hash(OneObject(one)) == hash(OneObject(one))
    assert OneObject(one) != OneObject(other) and OneObject(one) != id(one)
    for thing, expected in ((one, 1), (other, 2), (one, 1)):
        assert memory.recall(("key", OneObject(thing)), lambda expected=expected: expected) == expected


def test_an_object_at_the_address_of_one_that_is_gone_is_another() -> None:
    memory, met = Memory(), 0
    for number in range(100):
        thing = Thing()
        met += memory.recall(OneObject(thing), lambda number=number: number) != number
        gone = weakref.ref(thing)
        del thing
        gc.collect(0)
        assert gone() is None, "what is remembered keeps nothing alive"
    assert not met

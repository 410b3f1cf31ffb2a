"""Guidance for one picture or for a batch."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.guidance import Guidance, GuidanceError


class TestGuidance:
    def guidance(self, pictures: int) -> Guidance:
        return Guidance(
            torch.rand(pictures, 4, 8),
            torch.rand(pictures, 8),
            torch.rand(pictures, 7),
            torch.rand(pictures, 9),
            tuple(str(index) for index in range(pictures)),
            "some:1",
        )

    def test_one_description_serves_a_whole_batch(self) -> None:
        assert self.guidance(1).for_frame(4, 6).descriptions == ("0",)

    def test_each_frame_gets_its_own(self) -> None:
        assert self.guidance(3).for_frame(2, 3).descriptions == ("2",)

    def test_another_number_of_frames_is_an_error(self) -> None:
        with pytest.raises(GuidanceError, match="describes 3 pictures but the batch has 2"):
            self.guidance(3).for_frame(0, 2)

    def test_joining_undoes_splitting(self) -> None:
        whole = self.guidance(3)
        joined = Guidance.join([whole[index] for index in range(3)])
        assert torch.equal(joined.tokens, whole.tokens)
        assert joined.descriptions == whole.descriptions

    def test_frames_outside_are_refused(self) -> None:
        with pytest.raises(IndexError, match="holds 3 pictures"):
            self.guidance(3)[3]

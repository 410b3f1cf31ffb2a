"""Errors whose message is one sentence for the user: what is wrong, where, and what to do.

Everything else that the package raises is a defect of ours. All of them are `ValueError`s, so that callers who know
nothing of this module can catch them.
"""

from __future__ import annotations

_PUBLIC_MODULE = "mofe_restore.model.errors"
"""ComfyUI imports the pack under the path of its folder and shows an error's type with its module: no path there."""


class MofeError(ValueError):
    """Base of all errors that a user can mend; the message is one sentence."""

    __module__ = _PUBLIC_MODULE

    def __init_subclass__(cls) -> None:
        """Give every error the public module name."""
        super().__init_subclass__()
        cls.__module__ = _PUBLIC_MODULE


class GuidanceError(MofeError):
    """Guidance that does not fit the image or the restorer."""


class RestorationError(MofeError):
    """An image that cannot be restored, or a result that is not finite."""


class MllmError(MofeError):
    """A model folder that cannot be used as an MLLM."""


class NoTextError(MllmError):
    """A vision language model that reads images but writes no text."""


class WeightFileError(MofeError):
    """A weight file that cannot be used."""


class ImageFileError(MofeError):
    """An image file that cannot be used."""


class CommandError(MofeError):
    """Arguments of the command line that make no sense together."""


class TrainingError(MofeError):
    """Something that has to be changed before training can go on."""


class EvaluationError(MofeError):
    """Data or a restoration that cannot be evaluated."""

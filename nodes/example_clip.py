"""The clip that the workflow Restore a video opens with."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import folder_paths

log = logging.getLogger(__name__)

CLIP = Path(__file__).parents[1] / "workflows" / "example.mp4"


def add_example_clip() -> None:
    """Copy the clip into ComfyUI's input folder, where Load Video looks; a file of this name there is left alone.

    A template cannot bring a video of its own: Load Video only offers what lies in that folder.
    """
    from ..model.atomic import atomic_write

    place = Path(folder_paths.get_input_directory()) / CLIP.name
    try:
        if not place.exists() and place.parent.is_dir() and CLIP.is_file():
            with atomic_write(place) as temporary:
                shutil.copyfile(CLIP, temporary)
    except OSError as error:  # a folder that may not be written to: the user chooses a video instead
        log.info("The example clip was not copied to %s: %s", place, error)

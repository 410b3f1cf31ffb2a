"""Evaluation of relations: are images that are degraded alike near each other for the MLLM, and routed alike?

This is what the relational alignment loss asks for (arXiv 2605.11444, abstract); the measure and the plot are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from ...model.atomic import atomic_write
from ...model.guidance import Guidance
from ...model.synthesis.degrade import Degraded
from ...model.synthesis.severities import COMBINATIONS
from ..data.photos import list_photos, read_photo
from ..restorer.losses import centered_cosines
from .inputs import composite, to_tensor
from .results import COUNT, Evaluation, Table
from .runner import Describe, Progress, tracked

Route = Callable[[Tensor, Guidance], Tensor]
"""Takes an image [1, 3, H, W] and its guidance to its routing vector [R]."""

PAIRS = (("embeddings", "severities"), ("routing", "embeddings"), ("routing", "severities"))
"""The relations that are compared."""


def evaluate_relations(
    describe: Describe,
    route: Route,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
    plot: Path | None = None,
) -> Evaluation:
    """Measure how far three matrices of relations agree: of the true severities, the embeddings, and the routing.

    A relation is the cosine of two images' vectors minus the mean vector; the images are the composites of
    `evaluate_composites` with the same seed. Agreement is the correlation over all pairs of different images. The other
    tables hold the mean relation between the images of each two combinations.

    Args:
        describe: Makes the guidance.
        route: Gives the routing.
        clean_folder: Folder with clean photos.
        seed: Of the degradations.
        limit: Use only the first so many photos.
        on_progress: Called after each image.
        plot: PNG file to draw the mean relations into; None draws nothing.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
    """
    photos = list_photos(clean_folder)[:limit]
    total = len(photos) * len(COMBINATIONS)
    vectors: dict[str, list[Tensor]] = {"severities": [], "embeddings": [], "routing": []}
    for degraded in tracked(_images(photos, seed), total, on_progress):
        image = to_tensor(degraded.image)
        with torch.no_grad():
            guidance = describe(image)
            vectors["routing"].append(route(image, guidance).float().cpu())
        vectors["embeddings"].append(guidance.pooled[0].float().cpu())
        vectors["severities"].append(torch.from_numpy(degraded.truth.strength))
    matrices = {name: centered_cosines(torch.stack(rows)) for name, rows in vectors.items()}
    rows = {f"{a} and {b}": {COUNT: total, "correlation": agreement(matrices[a], matrices[b])} for a, b in PAIRS}
    means = [_mean_relations(name, matrix, len(photos)) for name, matrix in matrices.items()]
    title = f"Relations between composites of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    result = Evaluation(title, (Table("relations of", {COUNT: 0, "correlation": 3}, rows), *means))
    if plot is not None:
        draw_relations(result, plot)
    return result


def agreement(one: Tensor, two: Tensor) -> float:
    """Return the correlation of two matrices [B, B] over the pairs of different images."""
    pairs = ~torch.eye(len(one), dtype=torch.bool)
    return float(torch.corrcoef(torch.stack([one[pairs], two[pairs]]))[0, 1])


def draw_relations(result: Evaluation, path: Path) -> None:
    """Draw the mean relations between the combinations as matrices side by side.

    Args:
        result: Of `evaluate_relations`.
        path: The PNG file to write.
    """
    from matplotlib.figure import Figure

    tables = result.tables[1:]
    figure = Figure(figsize=(4.2 * len(tables), 5.0), layout="constrained")
    for number, table in enumerate(tables):
        axes = figure.add_subplot(1, len(tables), number + 1)
        columns = [column for column in table.columns if column != COUNT]
        cells = [[row[column] for column in columns] for row in table.rows.values()]
        matrix = axes.imshow(cells, vmin=-1, vmax=1, cmap="cividis", interpolation="nearest")
        axes.set_title(table.name)
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
        axes.set_yticks(range(len(cells)), list(table.rows) if number == 0 else [""] * len(cells), fontsize=8)
        axes.tick_params(length=0)
    figure.colorbar(matrix, ax=figure.axes, shrink=0.6, label="mean cosine of vectors minus their mean")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _images(photos: list[Path], seed: int) -> Iterator[Degraded]:
    """Yield the composites sorted by combination, so that the matrices show blocks."""
    for kind in COMBINATIONS:
        for photo in photos:
            yield composite(read_photo(photo), kind, photo.name, seed)


def _mean_relations(name: str, matrix: Tensor, count: int) -> Table:
    """Return the mean relations between combinations of `count` images each, from the [B, B] of all images."""
    kinds = len(COMBINATIONS)
    means = matrix.reshape(kinds, count, kinds, count).mean((1, 3)).tolist()
    rows = {
        kind: {COUNT: count, **dict(zip(COMBINATIONS, line, strict=True))}
        for kind, line in zip(COMBINATIONS, means, strict=True)
    }
    return Table(name, {COUNT: 0, **dict.fromkeys(COMBINATIONS, 2)}, rows)

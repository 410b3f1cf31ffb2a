"""Do pictures that are degraded alike lie near each other in the MLLM's space, and are they routed alike?

This is what the relational alignment loss asks for (arXiv 2605.11444, abstract); the measure and the plot are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..model.files import written_whole
from ..model.guidance import Guidance
from ..model.imaging.degradations import COMBINATIONS
from ..model.relations import centred_cosines
from .composites import composite, to_tensor
from .evaluation import Describe, Progress
from .photos import list_photos, read_photo
from .tables import Evaluation, Table

Route = Callable[[Tensor, Guidance], Tensor]
"""A picture [1, 3, H, W] and its guidance to its routing vector [R]."""

PAIRS = (("embeddings", "severities"), ("routing", "embeddings"), ("routing", "severities"))


def evaluate_relations(
    describe: Describe,
    route: Route,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
    picture: Path | None = None,
) -> Evaluation:
    """How far three matrices of relations agree: of the true severities, of the embeddings, and of the routing.

    A relation is the cosine of two pictures' vectors, taken from the mean of all; the pictures are the composites of
    `evaluate_composites` with the same seed. Agreement is the correlation over all pairs of different pictures. The
    other tables hold the mean relation between the pictures of each two combinations.

    Args:
        picture: where to draw these means, a PNG.

    Raises:
        PhotoError: the folder holds no photos, or one cannot be read.
    """
    photos = list_photos(clean_folder)[:limit]
    vectors: dict[str, list[Tensor]] = {"severities": [], "embeddings": [], "routing": []}
    for kind in COMBINATIONS:  # sorted by kind, so that the matrices show blocks
        for photo in photos:
            degraded = composite(read_photo(photo), kind, photo.name, seed)
            shown = to_tensor(degraded.picture)
            with torch.no_grad():
                guidance = describe(shown)
                vectors["routing"].append(route(shown, guidance).float().cpu())
            vectors["embeddings"].append(guidance.pooled[0].float().cpu())
            vectors["severities"].append(torch.from_numpy(degraded.truth.strength))
            if on_progress:
                on_progress(len(vectors["routing"]), len(photos) * len(COMBINATIONS))
    matrices = {name: centred_cosines(torch.stack(rows)) for name, rows in vectors.items()}
    rows = {f"{a} and {b}": {"correlation": agreement(matrices[a], matrices[b])} for a, b in PAIRS}
    means = [_table(name, matrix, len(photos)) for name, matrix in matrices.items()]
    title = f"Relations between composites of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    result = Evaluation(title, (Table("relations of", {"correlation": 3}, rows), *means))
    if picture is not None:
        draw_relations(result, picture)
    return result


def agreement(one: Tensor, two: Tensor) -> float:
    """The correlation of two matrices [B, B] over the pairs of different pictures."""
    pairs = ~torch.eye(len(one), dtype=torch.bool)
    return float(torch.corrcoef(torch.stack([one[pairs], two[pairs]]))[0, 1])


def _table(name: str, matrix: Tensor, each: int) -> Table:
    """The mean relations between combinations of `each` pictures."""
    kinds = len(COMBINATIONS)
    means = matrix.reshape(kinds, each, kinds, each).mean((1, 3)).tolist()
    rows = {row: dict(zip(COMBINATIONS, line, strict=True)) for row, line in zip(COMBINATIONS, means, strict=True)}
    return Table(name, dict.fromkeys(COMBINATIONS, 2), rows)


def draw_relations(result: Evaluation, path: Path) -> None:
    """The relations between the combinations as matrices side by side, from the result of `evaluate_relations`."""
    from matplotlib.figure import Figure

    tables = result.tables[1:]
    figure = Figure(figsize=(4.2 * len(tables), 5.0), layout="constrained")
    for number, table in enumerate(tables):
        axes = figure.add_subplot(1, len(tables), number + 1)
        cells = [list(row.values()) for row in table.rows.values()]
        image = axes.imshow(cells, vmin=-1, vmax=1, cmap="cividis", interpolation="nearest")
        axes.set_title(table.name)
        axes.set_xticks(range(len(cells)), list(table.columns), rotation=90, fontsize=8)
        axes.set_yticks(range(len(cells)), list(table.rows) if number == 0 else [""] * len(cells), fontsize=8)
        axes.tick_params(length=0)
    figure.colorbar(image, ax=figure.axes, shrink=0.6, label="mean cosine, taken from the mean of all")
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)

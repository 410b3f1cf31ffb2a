"""The training of the camera branch's estimator: spectra of scenes, and the kernel that blurred them.

It comes before that of the branch, which is trained on what the estimator makes of its scenes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...model.errors import TrainingError
from ...model.restorer.blur_estimator import DISC, KINDS, PATH, SIDE, BlurEstimator, BlurGuess, window_spectra
from ...model.synthesis.degrade import synthesize
from ...model.synthesis.severities import Severities
from ..data.photos import list_photos, read_photo
from ..data.scenes import SceneSampler, sample_generator, to_tensor
from ..engine.config import LoopConfig, RawConfig, parse_table, read_toml
from ..engine.loop import train
from ..engine.provenance import code_version, training_record
from .branch import load_with_branch, write_restorer
from .config import EstimatorRun

VALIDATION_SEED = 50_000_000
"""Seed of the validation images, far from those of training."""

VALIDATION: tuple[Severities, ...] = (
    Severities(),
    *(Severities(gaussian_sigma=sigma) for sigma in (0.8, 1.6, 3.0)),
    *(Severities(defocus_radius=radius) for radius in (1.5, 3.0, 5.0)),
    *(Severities(motion_length=size, motion_angle=angle) for size, angle in ((5.0, 30.0), (9.0, 75.0), (15.0, 140.0))),
)
"""What the validation photos are blurred with, each without noise and with `WEAK_NOISE`."""

WEAK_NOISE = 2 / 255
"""Sigma of about the noise of a good exposure, which hides a kernel's zeros."""

SMOOTHING = 0.02
"""Share of the probability of a kind that is spread over all: what is hardly blurred has no certain kind."""

SIGMA_WEIGHT = 1.5
"""Weight of the errors of sigma: of all answers they cost a restoration most."""

CERTAIN = 0.1
"""Error of the logarithm of a sigma above which the loss grows linearly."""


class EstimatorTask:
    """The estimator as a task of the training loop (`engine.task.Task`).

    Args:
        run: Its configuration.
        loop: That of the loop.
        raw_config: The tables of the TOML file, for the card.

    Attributes:
        network: What is trained.

    Raises:
        TrainingError: The settings do not fit together.
    """

    def __init__(self, run: EstimatorRun, loop: LoopConfig, raw_config: RawConfig) -> None:
        self.run, self.seed = run, loop.seed
        self._raw_config = raw_config
        code_version()  # now, not when the files may have changed
        self._scenes = SceneSampler.read(run.data.photos, run.mix, min_side=run.batch.sides[0])
        self._restorer, self._card_before = load_with_branch(Path(run.data.restorer), run.model, loop.seed)
        assert self._restorer.camera is not None
        if self._restorer.camera.estimator is None:
            raise TrainingError("[model] must give camera_estimator_width: this branch has no estimator.")
        self.network: BlurEstimator = self._restorer.camera.estimator
        # now: one that is too small would end the run when it is done
        photos = list_photos(run.data.validation)[: run.batch.validation_photos]
        self._photos = [read_photo(path, min_side=SIDE) for path in photos]
        self.recipe = {name: raw_config.get(name, {}) for name in ("model", "data", "batch", "mix")}
        self._validation: list[tuple[Tensor, Tensor]] = []

    def batch(self, index: int) -> dict[str, Tensor]:
        """Make batch `index`: spectra [N, K, SIDE, SIDE / 2 + 1], and the blurs, [N, 4] (`_as_target`)."""
        spectra, blurs = [], []
        for scene in range(self.run.batch.scenes):
            rng = sample_generator(self.seed, index, scene)
            severities = self.run.mix.draw(rng)
            clean = self._scenes.draw_clean(rng, self.run.batch.sides)
            spectra.append(window_spectra(to_tensor(synthesize(clean, severities, rng).image)))
            blurs.append(_as_target(severities))
        return {"spectra": torch.stack(spectra).half(), "blurs": torch.stack(blurs)}

    def loss(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Return the loss: the cross-entropy of the kind, and the errors of the logarithm of sigma and of the angle."""
        guess: BlurGuess = network(batch["spectra"].float())
        kind, log_sigma, direction = _split(batch["blurs"])
        blurred, moved = kind > 0, kind == KINDS.index("motion")
        errors = F.huber_loss(_sigma_of(guess, kind), log_sigma, delta=CERTAIN, reduction="none") / CERTAIN
        turns = (guess.direction - direction).square().sum(1)
        parts = {
            "kind": F.cross_entropy(guess.kind, kind, label_smoothing=SMOOTHING),
            "sigma": _mean(errors, blurred),
            "angle": _mean(turns, moved),
        }
        return {"loss": parts["kind"] + SIGMA_WEIGHT * parts["sigma"] + parts["angle"], **parts}

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return, of blurred validation photos, how often the kind is right and the median errors of its sizes.

        `kind` is a share; `sigma` a share of the sigma, and `angle` in degrees, of those whose kind is right.
        """
        if not self._validation:
            self._validation = list(self._validation_images())
        device = next(network.parameters()).device
        guesses: BlurGuess = network(torch.stack([spectra for spectra, _ in self._validation]).to(device))
        kind, log_sigma, direction = _split(torch.stack([blur for _, blur in self._validation]).to(device))
        right = guesses.kind.argmax(1) == kind
        moved = right & (kind == KINDS.index("motion"))
        turn = (_angle(guesses.direction) - _angle(direction) + 90) % 180 - 90
        return {
            "kind": float(right.float().mean()),
            "sigma": _median((_sigma_of(guesses, kind) - log_sigma).abs()[right & (kind > 0)]),
            "angle": _median(turn.abs()[moved]),
        }

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Write the restorer with this estimator, `folder`/restorer.safetensors."""
        estimator = {f"camera.estimator.{name}": value for name, value in network.state_dict().items()}
        record = {**training_record(self._raw_config, step), "metrics": metrics}
        write_restorer(folder, self._restorer, estimator, self._card_before, {"blur_estimator": record})

    def _validation_images(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the spectra of a degraded photo and its blur."""
        for number, photo in enumerate(self._photos):
            for severities in VALIDATION:
                for noise in (0.0, WEAK_NOISE):
                    rng = sample_generator(VALIDATION_SEED, number)
                    image = synthesize(photo, replace(severities, noise_sigma=noise), rng).image
                    yield window_spectra(to_tensor(image)), _as_target(severities)


def run(config_path: Path) -> None:
    """Train as the TOML file says; resumes where an earlier run of the same file stopped."""
    train_estimator(read_toml(config_path))


def train_estimator(raw_config: RawConfig) -> dict[str, float]:
    """Train as the tables of a TOML file say; return what `train` returns."""
    loop = parse_table(LoopConfig, raw_config, "loop")
    return train(EstimatorTask(EstimatorRun.from_raw(raw_config), loop, raw_config), loop)


def _as_target(severities: Severities) -> Tensor:
    """Return [4]: the kind's number, the logarithm of the kernel's sigma, and cosine and sine of twice the angle."""
    sigmas = {
        "gaussian": severities.gaussian_sigma,
        "defocus": severities.defocus_radius / DISC,
        "motion": severities.motion_length / PATH,
    }
    kind, sigma = max(sigmas.items(), key=lambda item: item[1])
    if sigma <= 0:
        return torch.tensor([KINDS.index("none"), 0.0, 1.0, 0.0])
    angle = math.radians(2 * severities.motion_angle)
    return torch.tensor([KINDS.index(kind), math.log(sigma), math.cos(angle), math.sin(angle)], dtype=torch.float32)


def _split(blurs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split [N, 4] of `_as_target` into kinds [N], logarithms [N] and directions [N, 2]."""
    return blurs[:, 0].long(), blurs[:, 1], blurs[:, 2:]


def _sigma_of(guess: BlurGuess, kind: Tensor) -> Tensor:
    """Return the guessed logarithms of sigma [N] for kinds [N]; that of sharp images means nothing."""
    return guess.log_sigma.gather(1, (kind - 1).clamp(min=0)[:, None])[:, 0]


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of the chosen values, 0 where there are none, without a shape that depends on their number."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def _median(values: Tensor) -> float:
    return float(values.median()) if len(values) else math.nan


def _angle(direction: Tensor) -> Tensor:
    return torch.rad2deg(torch.atan2(direction[:, 1], direction[:, 0])) / 2

"""Degradations follow their physical model, and the ground truth about them is what was done."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mofe_restore.model.blur_kernel import kernel_sigma
from mofe_restore.model.errors import RestorationError
from mofe_restore.model.image_files import ImageFile
from mofe_restore.model.synthesis.degrade import Degraded, RandomLayers, degrade, from_underexposed_pair, synthesize
from mofe_restore.model.synthesis.optics import point_spread
from mofe_restore.model.synthesis.severities import Severities, sample_severities
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS

HEIGHT, WIDTH = 96, 128
ALL_AT_ONCE = Severities(2.2, 0.04, 0.4, 0.3, 1.2, 0.8, 0.03, 0.002, 1.5, 0.5, 4.0, 30.0, 60)
SINGLE = {
    "low_light": [Severities(light_exponent=value) for value in (1.4, 2.0, 3.0)],
    "haze": [Severities(haze_beta=value, airlight=0.8) for value in (0.6, 1.2, 2.0)],
    "rain": [Severities(rain=value) for value in (0.2, 0.45, 0.8)],
    "snow": [Severities(snow=value) for value in (0.2, 0.45, 0.8)],
    "noise": [Severities(noise_sigma=value) for value in (0.02, 0.06, 0.2)],
    "blur": [Severities(gaussian_sigma=value) for value in (0.8, 1.6, 3.0)],
    "jpeg": [Severities(jpeg_quality=value) for value in (80, 40, 10)],
}


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """[96, 128, 3] in steps of 1/255: a gradient, a dark and a bright block, and fine texture."""
    rng = np.random.default_rng(5)
    image = np.linspace(0.25, 0.7, HEIGHT)[:, None, None] * np.array([1.0, 0.9, 0.8]) * np.ones((1, WIDTH, 1))
    image[20:60, 30:70] *= 0.4
    image[50:80, 80:110] = 0.85
    image += 0.04 * rng.standard_normal((HEIGHT, WIDTH, 1))
    return np.round(np.clip(image, 0.0, 1.0) * 255).astype(np.float32) / np.float32(255.0)


def make(clean: np.ndarray, severities: Severities, seed: int = 3, **layers: list[np.ndarray]) -> Degraded:
    return synthesize(clean, severities, np.random.default_rng(seed), **layers)


def parameter(degraded: Degraded, name: str) -> float:
    return float(degraded.truth.parameters[PARAMETERS.index(name)])


def strength(degraded: Degraded, name: str) -> float:
    return float(degraded.truth.strength[DEGRADATIONS.index(name)])


def error(degraded: Degraded, clean: np.ndarray) -> float:
    return float(((degraded.image - clean) ** 2).mean())


def test_the_same_seed_gives_the_same_image_and_another_seed_another(clean: np.ndarray) -> None:
    first, again, other = (make(clean, ALL_AT_ONCE, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.truth.parameters, again.truth.parameters)
    assert not np.array_equal(first.image, other.image)


def test_no_severity_leaves_the_image_exactly_alone(clean: np.ndarray) -> None:
    untouched = make(clean, Severities())
    assert np.array_equal(untouched.image, clean)
    assert not untouched.truth.presence.any()
    assert not untouched.truth.strength.any()
    absent = {"light_exponent": 1.0, "transmission": 1.0, "jpeg_quality": 100.0}
    assert untouched.truth.parameters.tolist() == [absent.get(name, 0.0) for name in PARAMETERS]


def test_the_clean_image_is_not_written_to(clean: np.ndarray) -> None:
    before = clean.copy()
    make(clean, ALL_AT_ONCE)
    assert np.array_equal(clean, before)


@pytest.mark.parametrize("severities", [ALL_AT_ONCE, Severities(haze_beta=1.0, airlight=0.7)])
def test_images_are_quantized_like_a_file(clean: np.ndarray, severities: Severities) -> None:
    image = make(clean, severities).image
    assert image.dtype == np.float32 and image.shape == clean.shape
    assert image.min() >= 0.0 and image.max() <= 1.0
    assert np.abs(image * 255 - np.round(image * 255)).max() < 1e-4


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_each_degradation_alone_is_the_only_one_present(clean: np.ndarray, name: str) -> None:
    for severities in SINGLE[name]:
        truth = make(clean, severities).truth
        assert [other for other, there in zip(DEGRADATIONS, truth.presence, strict=True) if there] == [name]
        assert np.array_equal(truth.strength > 0, truth.presence)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_more_severity_means_more_strength_and_more_error(clean: np.ndarray, name: str) -> None:
    made = [make(clean, severities) for severities in SINGLE[name]]
    strengths, errors = [strength(one, name) for one in made], [error(one, clean) for one in made]
    assert strengths == sorted(strengths) and len(set(strengths)) == 3
    assert errors == sorted(errors) and errors[0] > 0
    assert all(0 < value <= 1 for value in strengths)


def test_low_light_darkens_by_a_power_of_the_light(clean: np.ndarray) -> None:
    dark = make(clean, Severities(light_exponent=2.5))
    assert (dark.image <= clean).all() and dark.image.mean() < 0.7 * clean.mean()
    assert parameter(dark, "light_exponent") == 2.5


def test_rain_and_snow_brighten(clean: np.ndarray) -> None:
    for severities, name in ((Severities(rain=0.5), "rain_coverage"), (Severities(snow=0.5), "snow_coverage")):
        weather = make(clean, severities)
        assert (weather.image >= clean - 1e-6).all()
        assert parameter(weather, name) > 0.01


def test_the_coverage_of_rain_is_the_mean_of_what_was_added() -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
    rain = make(black, Severities(rain=0.5))
    assert parameter(rain, "rain_coverage") == pytest.approx(rain.image.mean(), abs=0.003)
    snow = make(black, Severities(snow=0.5))
    assert parameter(snow, "snow_coverage") == pytest.approx(snow.image.mean(), abs=0.003)


def test_haze_pulls_towards_the_airlight_by_the_transmission(clean: np.ndarray) -> None:
    hazy = make(clean, Severities(haze_beta=1.5, airlight=0.8))
    assert (np.abs(hazy.image - 0.8) <= np.abs(clean - 0.8) + 0.003).all()
    black = make(np.zeros_like(clean), Severities(haze_beta=1.5, airlight=0.8))
    assert parameter(black, "transmission") == pytest.approx(1 - black.image.mean() / 0.8, abs=0.003)
    assert np.exp(-1.5 * 0.7) - 1e-3 <= parameter(hazy, "transmission") <= 1.0


def test_a_tint_of_the_haze_takes_from_blue_what_it_gives_to_red(clean: np.ndarray) -> None:
    grey, warm = (
        synthesize(clean, Severities(haze_beta=2.0, airlight=0.8, haze_tint=tint), np.random.default_rng(0)).image
        for tint in (0.0, 0.1)
    )
    change = (warm - grey).mean((0, 1))
    assert change[0] == pytest.approx(-change[2], abs=1e-3) and change[0] > 0.02 and abs(change[1]) < 1e-6
    white = synthesize(clean, Severities(haze_beta=9.0, airlight=1.0, haze_tint=0.1), np.random.default_rng(0)).image
    assert white.max() <= 1.0


def test_haze_ends_at_the_farthest_published_depth(clean: np.ndarray) -> None:
    hazy = make(np.zeros_like(clean), Severities(haze_beta=2.0, airlight=0.9))
    assert hazy.image.max() <= 0.9 * (1 - np.exp(-2.0 * 0.7)) + 0.003


@pytest.mark.parametrize(
    "severities",
    [
        Severities(noise_sigma=0.05),
        Severities(low_light_noise=0.05),
        Severities(sensor_gain=0.006),
        Severities(noise_sigma=0.02, sensor_gain=0.004),
        Severities(low_light_noise=0.06, haze_beta=1.5, airlight=0.7),
    ],
)
def test_the_noise_is_as_strong_as_the_truth_says(severities: Severities) -> None:
    flat = np.full((HEIGHT, WIDTH, 3), 0.5, dtype=np.float32)
    noisy = make(flat, severities)
    across = noisy.image[..., 0] - noisy.image[..., 1]  # what the channels share is not noise
    assert across.std() / 2**0.5 == pytest.approx(parameter(noisy, "noise_sigma"), rel=0.05)


def test_shot_noise_grows_with_the_light() -> None:
    halves = np.full((HEIGHT, WIDTH, 3), 0.2, dtype=np.float32)
    halves[:, WIDTH // 2 :] = 0.8
    noise = make(halves, Severities(sensor_gain=0.004)).image - halves
    assert noise[:, WIDTH // 2 :].std() == pytest.approx(2 * noise[:, : WIDTH // 2].std(), rel=0.1)


def test_a_lens_does_not_blur_the_noise_of_low_light() -> None:
    flat = np.full((HEIGHT, WIDTH, 3), 0.5, dtype=np.float32)
    noisy = make(flat, Severities(low_light_noise=0.05, gaussian_sigma=2.0))
    assert noisy.image.std() == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize(
    ("severities", "sigma"),
    [
        (Severities(gaussian_sigma=1.5), 1.5),
        (Severities(defocus_radius=4.0), 2.0),
        (Severities(motion_length=12.0, motion_angle=40.0), 12.0 / 24.0**0.5),
        (Severities(gaussian_sigma=1.0, defocus_radius=3.0, motion_length=6.0), (1.0 + 9.0 / 4 + 36.0 / 24) ** 0.5),
    ],
)
def test_the_blur_is_as_wide_as_the_truth_says(clean: np.ndarray, severities: Severities, sigma: float) -> None:
    kernel = point_spread(severities)
    assert kernel is not None and kernel.sum() == pytest.approx(1.0)
    assert kernel_sigma(kernel) == pytest.approx(sigma, rel=0.08)
    assert parameter(make(clean, severities), "blur_sigma") == pytest.approx(kernel_sigma(kernel), rel=1e-5)


def test_weather_comes_in_the_published_order(clean: np.ndarray) -> None:
    """Snow covers rain and haze veils snow: flakes in haze are darker than bare ones."""
    veiled = make(np.zeros_like(clean), Severities(snow=0.6, haze_beta=2.0, airlight=0.6))
    bare = make(np.zeros_like(clean), Severities(snow=0.6))
    assert np.array_equal(veiled.truth.parameters[3], bare.truth.parameters[3])
    flakes = bare.image[..., 0] > 0.7
    assert flakes.any() and veiled.image[flakes].mean() < bare.image[flakes].mean() - 0.02


def test_given_rain_of_any_size_falls_in_half_of_the_images() -> None:
    layer = np.zeros((40, 300), dtype=np.float32)
    layer[:, ::7] = 0.8  # drawn rain never has such columns from top to bottom
    grey = np.full((64, 96, 3), 0.3, dtype=np.float32)
    given = [make(grey, Severities(rain=0.5), seed, rain_layers=[layer]).image[..., 0] for seed in range(24)]
    upright = [image.std(axis=0).mean() < 0.2 * image.std(axis=1).mean() for image in given]
    assert 6 <= sum(upright) <= 18


def test_what_the_training_mix_asks_for_is_present_in_the_image(clean: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    for _ in range(120):
        asked = sample_severities(rng)
        degraded = synthesize(clean, asked, rng)
        there = dict(zip(DEGRADATIONS, degraded.truth.presence.tolist(), strict=True))
        assert there["low_light"] == (asked.light_exponent > 1 or asked.exposure < 1)
        assert there["haze"] == (asked.haze_beta > 0)
        assert there["rain"] == (asked.rain > 0) and there["snow"] == (asked.snow > 0)
        assert there["noise"] == (asked.noise_sigma + asked.low_light_noise + asked.sensor_gain > 0)
        assert there["blur"] == (asked.gaussian_sigma + asked.defocus_radius + asked.motion_length > 0)
        assert there["jpeg"] == (asked.jpeg_quality < 100)


def test_a_short_exposure_counts_as_the_exponent_that_darkens_as_much(clean: np.ndarray) -> None:
    halves = [parameter(make(clean, Severities(exposure=exposure)), "light_exponent") for exposure in (0.7, 0.4, 0.1)]
    assert 1.25 < halves[0] < halves[1] < halves[2] <= 3.0
    dark = make(clean, Severities(exposure=0.4)).image
    assert dark.mean() == pytest.approx(0.4 * clean.mean(), abs=0.01)


def test_the_truth_about_a_real_dark_photo_tells_how_dark_it_is(clean: np.ndarray) -> None:
    for exposure in (0.3, 0.6):
        known = from_underexposed_pair(clean * np.float32(exposure), clean).truth
        made = make(clean, Severities(exposure=exposure)).truth
        assert known.presence.tolist() == made.presence.tolist()
        assert known.parameters == pytest.approx(made.parameters, abs=0.02)
    assert not from_underexposed_pair(clean, clean).truth.presence.any()


def test_soft_rain_only_adds_light(clean: np.ndarray) -> None:
    rained = make(clean, Severities(rain=0.6, soft_rain=True))
    assert np.all(rained.image >= clean - 1 / 255) and rained.image.max() <= 1.0
    assert rained.truth.presence[DEGRADATIONS.index("rain")]


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (64, 20)])
def test_small_images_of_any_shape_work(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 0.5, dtype=np.float32)
    degraded = make(image, ALL_AT_ONCE)
    assert degraded.image.shape == (*size, 3) and np.isfinite(degraded.truth.parameters).all()


def test_an_image_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[H, W, 3\], this one is \[8, 8\]"):
        make(np.zeros((8, 8), dtype=np.float32), Severities())


@pytest.mark.parametrize("kept", DEGRADATIONS)
def test_one_degradation_can_be_kept_while_the_others_go(clean: np.ndarray, kept: str) -> None:
    layers, rng = RandomLayers(), np.random.default_rng(3)
    whole = synthesize(clean, ALL_AT_ONCE, rng, layers=layers)
    partial = synthesize(clean, ALL_AT_ONCE.keeping([kept]), rng, layers=layers)
    assert [name for name, there in zip(DEGRADATIONS, partial.truth.presence, strict=True) if there] == [kept]
    if kept in ("haze", "rain", "snow"):  # the same layers, hence the same amounts
        for name in ("rain_coverage", "snow_coverage", "transmission"):
            same = parameter(partial, name) == pytest.approx(parameter(whole, name))
            assert same == name.startswith({"haze": "transmission"}.get(kept, kept))


def test_keeping_all_gives_the_same_image_and_keeping_none_the_clean_one(clean: np.ndarray) -> None:
    layers, rng = RandomLayers(), np.random.default_rng(3)
    whole = synthesize(clean, ALL_AT_ONCE, rng, layers=layers)
    assert np.array_equal(synthesize(clean, ALL_AT_ONCE.keeping(DEGRADATIONS), rng, layers=layers).image, whole.image)
    assert np.array_equal(synthesize(clean, ALL_AT_ONCE.keeping([]), rng, layers=layers).image, clean)


class TestDegradeTensors:
    RAIN = Severities(rain=0.6)

    @pytest.fixture
    def image(self) -> torch.Tensor:
        """[1, 3, 40, 56] in steps of 1/255."""
        values = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(3))
        return (values * 255).round() / 255

    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_size_channels_and_type_stay_and_the_input_is_left_alone(
        self, image: torch.Tensor, channels: int, dtype: torch.dtype
    ) -> None:
        given = torch.cat([image, image[:, :1]], dim=1)[:, :channels].to(dtype)
        before = given.clone()
        degraded = degrade(given, self.RAIN)
        assert degraded.shape == given.shape and degraded.dtype == dtype
        assert torch.equal(given, before) and not torch.equal(degraded, given)
        assert degraded.min() >= 0 and degraded.max() <= 1

    def test_it_is_what_synthesize_makes_of_each_image(self, image: torch.Tensor) -> None:
        images = torch.cat([image, image.flip(3)])
        degraded = degrade(images, ALL_AT_ONCE, seed=7)
        for index, clean in enumerate(images):
            made = synthesize(clean.permute(1, 2, 0).numpy(), ALL_AT_ONCE, np.random.default_rng((7, index)))
            assert np.array_equal(degraded[index].permute(1, 2, 0).numpy(), made.image)

    def test_an_alpha_channel_is_kept_bit_by_bit(self, image: torch.Tensor) -> None:
        alpha = torch.rand(1, 1, 40, 56)
        degraded = degrade(torch.cat([image, alpha], dim=1), self.RAIN)
        assert torch.equal(degraded[:, 3:], alpha)
        assert torch.equal(degraded[:, :3], degrade(image, self.RAIN))

    def test_grey_images_get_as_much_noise_as_a_color_and_whole_steps(self) -> None:
        grey, color = (degrade(torch.full((1, n, 64, 64), 0.5), Severities(noise_sigma=0.1)) for n in (1, 3))
        assert torch.equal(grey, color[:, 1:2])
        assert float(grey.std()) == pytest.approx(0.1, rel=0.1)
        assert torch.allclose(grey * 255, (grey * 255).round(), atol=1e-4)

    def test_no_severity_leaves_the_image_alone(self, image: torch.Tensor) -> None:
        assert torch.allclose(degrade(image, Severities()), image, atol=1e-6)

    def test_the_seed_decides_and_each_image_gets_its_own_weather(self, image: torch.Tensor) -> None:
        images = image.expand(2, -1, -1, -1)
        first, again, other = (degrade(images, self.RAIN, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert not torch.equal(first[0], first[1])
        assert torch.equal(degrade(image, self.RAIN, seed=1)[0], first[0])

    def test_the_result_is_written_into_a_given_tensor_of_any_type(self, image: torch.Tensor) -> None:
        rgba = torch.cat([image, torch.rand(1, 1, 40, 56)], dim=1)
        into = torch.full(rgba.shape, -1.0, dtype=torch.float64)
        assert degrade(rgba, self.RAIN, into=into) is into
        assert torch.equal(into.float(), degrade(rgba, self.RAIN))
        channels_last = torch.empty(1, 40, 56, 3).movedim(-1, 1)  # as a host keeps images
        assert torch.equal(degrade(image, self.RAIN, into=channels_last), degrade(image, self.RAIN))

    def test_progress_is_told_after_every_image_and_an_error_ends_the_work(self, image: torch.Tensor) -> None:
        class Cancelled(Exception):
            pass

        def cancel(done: int, total: int) -> None:
            told.append((done, total))
            if done == 2:
                raise Cancelled

        told: list[tuple[int, int]] = []
        degrade(image.expand(3, -1, -1, -1), self.RAIN, on_image=lambda done, total: told.append((done, total)))
        assert told == [(1, 3), (2, 3), (3, 3)]
        told.clear()
        with pytest.raises(Cancelled):
            degrade(image.expand(3, -1, -1, -1), self.RAIN, on_image=cancel)
        assert told == [(1, 3), (2, 3)]

    def test_an_image_file_is_degraded_as_its_pixels_are(self, image: torch.Tensor) -> None:
        assert torch.equal(degrade(ImageFile(image), self.RAIN), degrade(image, self.RAIN))

    @pytest.mark.parametrize(
        ("image", "words"),
        [
            (torch.rand(1, 3, 8, 40), "at least 16 px"),
            (torch.rand(3, 40, 40), "1, 3 or 4 channels"),
            (torch.zeros(1, 3, 40, 40, dtype=torch.uint8), "floating-point"),
            (torch.full((1, 3, 40, 40), torch.nan), "not finite"),
        ],
    )
    def test_images_that_make_no_sense_are_refused_in_words(self, image: torch.Tensor, words: str) -> None:
        with pytest.raises(RestorationError, match=words):
            degrade(image, self.RAIN)


def test_correlated_noise_keeps_its_strength_and_is_seen_as_such() -> None:
    gray = np.full((256, 256, 3), 0.5, np.float32)

    def noise(**more: float) -> np.ndarray:
        image = synthesize(gray, Severities(noise_sigma=0.06, **more), np.random.default_rng(0)).image
        return np.asarray(image - 0.5)

    def neighbors(layer: np.ndarray) -> float:
        return float(np.corrcoef(layer[:, :-1, 0].ravel(), layer[:, 1:, 0].ravel())[0, 1])

    def channels(layer: np.ndarray) -> float:
        return float(np.corrcoef(layer[..., 0].ravel(), layer[..., 1].ravel())[0, 1])

    plain, grain, same = noise(), noise(noise_grain=1.0), noise(noise_gray=0.8)
    for layer in (plain, grain, same):
        assert abs(layer.std() - 0.06) < 0.004
    assert abs(neighbors(plain)) < 0.02 and neighbors(grain) > 0.6
    assert abs(channels(plain)) < 0.02 and 0.75 < channels(same) < 0.85


def test_an_earlier_jpeg_leaves_its_blocks_off_the_grid(clean: np.ndarray) -> None:
    shifted = make(clean, Severities(first_jpeg_quality=10, jpeg_shift=3))
    plain = make(clean, Severities(jpeg_quality=10))
    assert shifted.truth.presence[DEGRADATIONS.index("jpeg")] and shifted.truth.parameters[-1] == 10
    assert not np.array_equal(shifted.image, plain.image) and shifted.image.shape == plain.image.shape
    larger = np.pad(clean, ((3, 0), (3, 0), (0, 0)), mode="edge")
    assert np.array_equal(shifted.image, make(larger, Severities(jpeg_quality=10)).image[3:, 3:])

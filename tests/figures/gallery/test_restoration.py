"""Denoisers in the gallery: noise, results, figures and residuals are what the captions say."""

import re

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from monai_medaug.figures.gallery import gallery_operations, images, restoration, rows
from monai_medaug.figures.gallery.images import gallery_image
from monai_medaug.transforms import MedianDenoise, RandCTDose
from monai_medaug.transforms.denoise.base import NoiseRemoval

from .test_write import SIZE, panels_of, png_chunk_names

OPERATIONS = {n: cls for n, cls in gallery_operations().items() if issubclass(cls, NoiseRemoval)}
CLASSICAL = [name for name, cls in OPERATIONS.items() if cls.classical]
STRONG = [name for name in OPERATIONS if name not in CLASSICAL]


@pytest.fixture
def sources(monkeypatch):
    """Real slices of few pixels."""
    monkeypatch.setattr(images, "_LONGEST", SIZE)
    return {modality: gallery_image(modality) for modality in ("ct", "mri")}


def drawn_lines(name, monkeypatch, sources):
    """The pictures of a denoiser, its calls, and the PNG."""
    drawn, draw = [], restoration.draw_lines
    monkeypatch.setattr(restoration, "draw_lines", lambda lines, *size: drawn.extend(lines) or draw(lines, *size))
    content, calls = restoration.draw_restoration(OPERATIONS[name], restoration.noise_trials(OPERATIONS[name]), sources)
    return drawn, calls, content


def noise_of_our_own(kind, image, sigma):
    """What the titles promise, from seed 0."""
    generator = torch.Generator().manual_seed(0)
    if kind == "with white noise":
        return image + sigma * torch.empty(image.shape).normal_(generator=generator)
    if kind == "with Rician noise":
        real, imaginary = sigma * torch.empty(2, *image.shape).normal_(generator=generator)
        return torch.hypot(image + real, imaginary)
    assert kind == "with CT noise"
    return RandCTDose(noise_hu=(sigma, sigma), prob=1).set_random_state(0)(image)


@pytest.mark.parametrize("name", OPERATIONS)
def test_figures_of_a_denoiser_are_those_of_its_calls(name, sources, monkeypatch):
    """Noise, results, PSNR, estimates and residuals, each made again from what is stated."""
    lines, calls, content = drawn_lines(name, monkeypatch, sources)
    assert png_chunk_names(content) <= {b"IHDR", b"IDAT", b"IEND"}
    kinds = [above[1].title for above in lines[::2]]
    assert kinds == ["with white noise", *([] if name in CLASSICAL else ["with Rician noise"]), "with CT noise"]
    threes = [calls[n : n + 3] for n in range(0, len(calls), 3)]
    for above, below, own in zip(lines[::2], lines[1::2], threes, strict=True):
        modality, unit = ("ct", " HU") if above[1].title == "with CT noise" else ("mri", "")
        image = sources[modality].image
        low, high = above[0].span
        shown = [re.sub("−", "-", text) for text in above[0].caption]
        assert shown == [f"shown from {low:.0f} to {high:.0f}{unit}"]
        stated = re.fullmatch(rf"σ (\d+){unit}, seed 0", above[1].caption[0])
        sigma = int(stated[1])
        noisy = noise_of_our_own(above[1].title, image, sigma)
        results = [OPERATIONS[name](**call)(noisy) for call in own]

        clean = above[0].values
        upright = np.asarray(image[0]).T
        down, right = np.nonzero((sliding_window_view(upright, clean.shape) == clean).all((2, 3)))
        assert clean.shape == (SIZE // 2, SIZE // 2)
        assert len(down) == 1, "not a part of the slice"
        part = np.s_[down[0] : down[0] + SIZE // 2, right[0] : right[0] + SIZE // 2]
        for picture, made in zip(above[1:], [noisy, *results], strict=True):
            # rounding of the noise may turn a near tie of the matching
            np.testing.assert_allclose(picture.values, np.asarray(made[0]).T[part], atol=1e-3 * (high - low))
            error = np.clip(picture.values, low, high) - np.clip(clean, low, high)
            ratio = 10 * np.log10((high - low) ** 2 / np.mean(error**2, dtype=float))
            said = [text for text in picture.caption if text.startswith("PSNR")]
            assert float(re.fullmatch(r"PSNR (\d+\.\d) dB", *said)[1]) == pytest.approx(ratio, abs=0.051)
            assert picture.span == (low, high)
        half = below[1].span[1]
        assert below[1].caption == [f"blue −{half:g}, red +{half:g}{unit} in this line"]
        assert 2.5 * sigma <= half < 4 * sigma
        for picture, taken in zip(below[1:], [clean, *(p.values for p in above[2:])], strict=True):
            assert picture.colours
            assert picture.span == (-half, half)
            np.testing.assert_array_equal(picture.values, above[1].values - taken)
        assert len({picture.title for picture in above}) == len(above)
        for picture, call, result in zip(above[2:], own, results, strict=True):
            told = {f"{key} {value}".replace("_", " ") for key, value in call.items()} | {"sigma estimated"}
            assert set(picture.title.split(", ")) <= told
            guessed = OPERATIONS[name].by_level and call.get("sigma") is None
            assert ("sigma estimated" in picture.title) == guessed == (len(picture.caption) == 2)
            if guessed:
                level = result.applied_operations[-1]["extra_info"]["figures"]["noise_level"]
                said = re.fullmatch(rf"σ estimated as (\d+\.\d){unit}", picture.caption[1])
                assert float(said[1]) == pytest.approx(level, abs=0.051)
            if OPERATIONS[name].by_level and "sigma" not in picture.title:
                assert call["sigma"] == sigma, "not told what was added"


def test_pixels_of_a_denoiser_are_those_of_the_part_at_twice_its_size(sources, monkeypatch):
    lines, _, content = drawn_lines("MedianDenoise", monkeypatch, sources)
    top = 0
    for line in lines:
        panels = [p[top : top + SIZE] for p in panels_of(content)]
        for picture, panel in zip(line, panels, strict=True):
            if picture.title == "where it lies":
                continue
            assert np.array_equal(panel[::2, ::2], panel[1::2, 1::2]), "not at twice its size"
            low, high = picture.span
            grey = 255 * np.clip((picture.values - low) / (high - low), 0, 1)
            if picture.colours:
                warm = panel[::2, ::2, 0] - panel[::2, ::2, 2]
                strong = np.abs(picture.values) > high / 4
                assert (np.sign(warm) == np.sign(picture.values))[strong].all()
            else:
                assert np.abs(panel[::2, ::2] - grey[..., None]).max() <= 2.5
        top += rows._HEAD + SIZE + 10 + max(len(p.caption) for p in line) * rows._LINE


def test_where_the_part_lies_is_framed(sources):
    image = sources["mri"]
    trial = restoration.noise_trials(MedianDenoise)[0]
    (above, below) = restoration.trial_lines(trial, image, [MedianDenoise()] * 3, SIZE)
    whole, upright = below[0].values, np.asarray(image.image[0]).T
    assert whole.shape == (SIZE, SIZE)
    pad = (SIZE - upright.shape[0]) // 2
    assert np.isnan(whole[:pad]).all()
    changed = whole[pad : pad + upright.shape[0]] != upright
    down, right = np.nonzero(changed)
    box = np.s_[down.min() : down.max() + 1, right.min() : right.max() + 1]
    np.testing.assert_array_equal(upright[box], above[0].values)
    assert not changed[box][1:-1, 1:-1].any(), "the frame covers the part"


@pytest.mark.parametrize(("name", "absent"), [("MedianDenoise", "ct"), ("WaveletDenoise", "mri")])
def test_a_denoiser_is_shown_on_what_is_there(name, absent, sources, monkeypatch):
    lines, calls, _ = drawn_lines(name, monkeypatch, {**sources, absent: None})
    assert (len(lines), len(calls)) == (2, 3)


@pytest.mark.parametrize("name", STRONG)
def test_noise_of_ct_goes_where_it_is_known_for_correlated(name):
    """At the gallery's size: taken for white it is hardly estimated, and hardly anything is taken away."""
    cls = OPERATIONS[name]
    trial = restoration.noise_trials(cls)[-1]
    denoisers = [cls(**setting) for setting in trial.settings]
    above, below = restoration.trial_lines(trial, gallery_image("ct"), denoisers, 320)
    assert [p.title for p in above[2:]] == [
        "noise gaussian, sigma estimated",
        "noise ct, sigma estimated",
        "noise ct, sigma 12",
    ]
    said = ["; ".join(picture.caption) for picture in above[1:]]
    noisy, white, estimated, stated = (float(re.search(r"PSNR (\S+) dB", text)[1]) for text in said)
    assert noisy <= white < noisy + 2
    assert min(estimated, stated) > noisy + 4  # by default 0.6 of the noise goes
    levels = [float(re.search(r"as (\S+) HU", text)[1]) for text in said[1:3]]
    assert levels[0] < trial.sigma / 2.5
    assert 0.95 * trial.sigma < levels[1] < 1.25 * trial.sigma, (
        "the slice has noise of its own, and flat tissue lies deep, where noise is stronger"
    )

    brain = np.s_[60:120, 50:110]
    assert above[0].values[brain].min() > 0, "no bone, no air"
    added = below[1].values[brain]
    for picture in below[3:]:
        taken = picture.values[brain]
        assert taken.std() > 0.8 * 0.6 * trial.sigma  # 0.6 of what is found goes by default
        assert np.corrcoef(taken.ravel(), added.ravel())[0, 1] > 0.9

"""A ball in its surroundings: contrast, parts and visibility against closed forms."""

import numpy as np
import pytest

from monai_medaug.functional.borders import REACH
from monai_medaug.functional.lesion import divided_lesion, lesion_contrast
from monai_medaug.functional.transfer import transfer_curve

RANDOM = np.random.RandomState(0)
AXES = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"), -1).reshape(-1, 3)
DISTANCE = np.linalg.norm(AXES - 12, axis=1)
BALL, RING = AXES[DISTANCE < 6], AXES[(DISTANCE >= 6) & (DISTANCE < 10)]
BESIDE = np.array([np.abs(BALL - v).sum(1).argmin() for v in RING])
BORDER = 12 + 6 * np.array([[np.cos(a), np.sin(a), 0] for a in np.linspace(0, 6.2, 300)])
RIM = DISTANCE[DISTANCE < 6] >= 5


def compared(step=40.0, noise=20.0, change=None, curve=None, extra=0.0):
    """A lesion ``step`` above its ring, and after a change of its values, by position."""
    parts = divided_lesion(BALL, RIM, np.ones(len(BALL), int), RING, BESIDE, BORDER)
    lesion, ring = step + noise * RANDOM.randn(len(BALL)), noise * RANDOM.randn(len(RING))
    t = np.arange(-REACH, REACH + 1)
    lines = np.where(t <= 0, step, 0.0) + noise * RANDOM.randn(300, len(t))
    after = lesion.copy() if change is None else change(lesion, BALL)
    gained = [curve(v) if curve else v for v in (after, ring, lines)]
    after, ring_after, lines_after = (v + extra * RANDOM.randn(*v.shape) for v in gained)
    everywhere = RANDOM.uniform(-200, 200, 5000)
    fitted = transfer_curve(everywhere, curve(everywhere) if curve else everywhere)
    return lesion_contrast(parts, (lesion, after), (ring, ring_after), (lines, lines_after), fitted)


def test_contrasts_are_the_closed_forms():
    found = compared()
    assert found.contrast_to_noise[0] == pytest.approx(2, rel=0.1)
    assert found.border[0] == pytest.approx(40 / (20 * np.sqrt(2 / 3)), rel=0.1)  # three voxels on each side
    assert found.detectability[0] > 5  # averages over 216 voxels
    assert found.was_visible
    assert set(found.compared) == {"border contrast", "contrast to noise", "detectability"}
    assert all(share == pytest.approx(1) for share in found.parts.values())
    thirds = [f"third {a}{i}" for a in "abc" for i in (1, 2, 3)]
    assert {"rim", "core", *thirds} <= set(found.parts) <= {"rim", "core", *thirds, *(f"border of {t}" for t in thirds)}


def test_a_lesion_of_a_tenth_of_the_noise_was_not_visible():
    assert not compared(step=1.8).was_visible
    assert compared(step=-30).was_visible


@pytest.mark.parametrize("curve", [lambda x: 0.02 * x - 3, lambda x: ((x + 300) / 600) ** 0.8])
def test_gain_and_gamma_are_no_change_of_contrast(curve):
    found = compared(curve=curve)
    assert all(share == pytest.approx(1, abs=0.15) for share in found.parts.values())
    assert found.contrast_to_noise[1] == pytest.approx(found.contrast_to_noise[0], rel=0.1)


@pytest.mark.parametrize(
    ("change", "worst"),
    [
        (lambda v, at: np.where(at[:, 0] > 12, 0, v), 0.0),  # half of it painted over
        (lambda v, at: np.where(np.linalg.norm(at - 12, axis=1) < 5, 0, v), 0.0),  # its core
        (lambda v, at: 0.4 * v, 0.4),
        (lambda v, at: 5 * v, 5.0),
        (lambda v, at: -v, -1.0),
    ],
)
def test_changes_of_parts_are_seen_both_ways(change, worst):
    found = compared(noise=4, change=change)
    assert max(found.parts.values(), key=lambda share: abs(share - 1)) == pytest.approx(worst, abs=0.15)


def test_a_window_that_clips_the_lesion_takes_its_contrast():
    found = compared(noise=4, curve=lambda x: np.minimum(x, 0.0))
    assert found.contrast_to_noise[1] == pytest.approx(0, abs=0.1)
    assert found.border[1] < 0.2 * found.border[0]


def test_noise_lowers_the_ratios_and_not_the_contrast():
    found = compared(extra=60)
    assert found.contrast_to_noise[1] < 0.5 * found.contrast_to_noise[0]
    assert found.detectability[1] < 0.5 * found.detectability[0]
    assert all(share == pytest.approx(1, abs=0.5) for share in found.parts.values())


def test_a_bias_field_is_no_change_of_contrast():
    parts = divided_lesion(BALL, RIM, np.ones(len(BALL), int), RING, BESIDE, BORDER)
    values = [v + 0.0 for v in (np.full(len(BALL), 340.0), np.full(len(RING), 300.0), np.full((300, 17), 300.0))]
    values[2][:, : REACH + 1] = 340
    fields = [1 + 0.02 * (at[:, 0] - 12) for at in (BALL, RING, BORDER)]
    biased = [v * f.reshape(-1, *[1] * (v.ndim - 1)) for v, f in zip(values, fields, strict=True)]
    pairs = list(zip(values, biased, strict=True))
    everywhere = RANDOM.uniform(0, 400, 5000)
    found = lesion_contrast(parts, *pairs, transfer_curve(everywhere, everywhere))
    assert all(0.5 < share < 1.5 for share in found.parts.values())


def test_a_component_in_darker_surroundings_has_more_contrast_to_lose():
    """Two of 40, one beside a sulcus of -40, the other beside 0: a loss of 34 leaves 0.57 and 0.15."""
    dark = (BALL[:, 0] > 14)[BESIDE]
    for own, kept in ((2, 0.57), (1, 0.15)):
        component = np.where(BALL[:, 0] > 14, 2, 1)
        parts = divided_lesion(BALL, RIM, component, RING, BESIDE, BORDER)
        lesion, ring, lines = np.full(len(BALL), 40.0), np.where(dark, -40.0, 0.0), np.zeros((300, 2 * REACH + 1))
        lines[:, : REACH + 1] = 40
        lesion, ring, lines = (v + RANDOM.randn(*v.shape) for v in (lesion, ring, lines))
        pairs = ((lesion, lesion - 34 * (component == own)), (ring, ring), (lines, lines))
        found = lesion_contrast(parts, *pairs, transfer_curve(np.arange(-99.0, 99), np.arange(-99.0, 99)))
        name = f"component {1 + (own != np.bincount(component).argmax())}"
        assert found.parts[name] == pytest.approx(kept, abs=0.05)


def test_components_are_parts():
    component = np.where(BALL[:, 0] > 14, 2, 1)
    parts = divided_lesion(BALL, RIM, component, RING, BESIDE, BORDER).parts
    assert parts["component 1"].sum() > parts["component 2"].sum() > 0
    assert not (parts["component 2"] & parts["core"]).any()


def test_rounding_is_no_spread():
    """Of noise-free images only rounding is left, by which nothing may be divided."""
    values = [
        np.full(len(BALL), 0.3),
        np.full(len(RING), 0.1) + 1e-16 * RANDOM.randn(len(RING)),
        np.full((300, 17), 0.1),
    ]
    values[2][:, : REACH + 1] = 0.3
    parts = divided_lesion(BALL, RIM, np.ones(len(BALL), int), RING, BESIDE, BORDER)
    found = lesion_contrast(parts, *[(v, v) for v in values], transfer_curve(np.arange(2.0), np.arange(2.0)))
    assert found.contrast_to_noise == found.border == (1000, 1000)

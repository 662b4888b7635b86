"""The scanner of the metal cases against closed forms."""

import numpy as np
import pytest

from tests.metal.materials import MU, NAMES, REFERENCE, TISSUES, hounsfield, tissue_maps, transmission, water_corrected
from tests.metal.scanner import (
    SUBRAYS,
    Anatomy,
    Scanner,
    Shape,
    coverage,
    measured,
    projected,
    reconstructed,
    traversed,
)

BEAMS = [Scanner(128, 300, views=180), Scanner(128, 300, fan=True, views=180)]


def of(lengths: np.ndarray, name: str) -> np.ndarray:
    return lengths[..., NAMES.index(name)]


@pytest.mark.parametrize("scanner", BEAMS)
def test_a_disc_is_crossed_along_its_chords(scanner):
    points, directions = scanner.rays(SUBRAYS)
    middle = np.array([20.0, -30.0]) - points
    off = np.abs(middle[..., 0] * directions[..., 1] - middle[..., 1] * directions[..., 0])
    expected = 2 * np.sqrt(np.maximum(40.0**2 - off**2, 0))
    lengths = of(traversed([Shape("water", 20, -30, 40, 40)], scanner), "water").reshape(expected.shape)
    np.testing.assert_allclose(lengths, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1, atol=1e-12)


def test_what_is_painted_last_takes_the_place_of_what_was_there():
    """A turned box of steel, half in a disc of water and half in bone: along the box's axis, at each view 0 and 90."""
    scanner = Scanner(128, 300, views=2)
    body = [Shape("water", 0, 0, 80, 80), Shape("bone", 0, 40, 30, 30), Shape("steel", 0, 20, 30, 5, 90, box=True)]
    lengths = traversed(body, scanner)
    middle = scanner.elements // 2
    through = {name: of(lengths, name)[0, middle].mean() for name in ("water", "bone", "steel")}  # along y, near x = 0
    assert through["steel"] == pytest.approx(60, abs=1e-6)
    assert through["bone"] == pytest.approx(20, abs=0.2)
    assert through["water"] == pytest.approx(80, abs=0.2)
    across = of(lengths, "steel")[1].mean(-1)  # rays along x
    assert across.max() == pytest.approx(10, abs=1e-6)
    assert across.sum() * scanner.pitch == pytest.approx(600, rel=0.01)


@pytest.mark.parametrize("scanner", BEAMS)
def test_a_reconstruction_shows_ct_numbers_where_they_are(scanner):
    body = [Shape("water", 0, 0, 110, 90), Shape("muscle", 50, -30, 20, 20), Shape("fat", -40, 40, 18, 18)]
    image = reconstructed(measured(traversed(body, scanner), scanner, None), scanner)

    def mean(x, y, radius=10):
        inside = coverage([Shape("", x, y, radius, radius)], 128, scanner.pixel_mm) == 1
        return image[inside].mean()

    assert mean(50, -30) == pytest.approx(hounsfield("muscle"), abs=3)
    assert mean(-40, 40) == pytest.approx(hounsfield("fat"), abs=3)
    assert mean(0, 0) == pytest.approx(0, abs=3)
    assert mean(50, 30) == pytest.approx(0, abs=3)
    assert mean(-130, -130, 8) == pytest.approx(-1000, abs=5)


def test_a_slice_is_projected_as_the_shapes_that_it_shows():
    scanner = Scanner(256, 300, views=60)
    shape = Shape("water", 15, -20, 60, 45, 30)
    share = coverage([shape], 256, scanner.pixel_mm)
    exact = of(traversed([shape], scanner), "water").mean(-1) * MU[0, REFERENCE]
    assert np.abs(projected(1000 * (share - 1), scanner) - exact).mean() < 0.005 * exact.max()
    real = traversed([], scanner, Anatomy(1000 * (share - 1), scanner.pixel_mm))
    assert np.abs(of(real, "water").mean(-1) * MU[0, REFERENCE] - exact).mean() < 0.005 * exact.max()


def test_metal_displaces_the_tissue_of_a_real_slice():
    scanner, hu = Scanner(128, 300, views=30), np.full((128, 128), 0.0)
    body = [Shape("steel", 10, 10, 20, 20)]
    whole = of(traversed([], scanner, Anatomy(hu, scanner.pixel_mm)), "water")
    with_metal = traversed(body, scanner, Anatomy(hu, scanner.pixel_mm))
    inside = of(with_metal, "steel") > 30
    displaced = whole - of(with_metal, "water")
    np.testing.assert_allclose(displaced[inside], of(with_metal, "steel")[inside], atol=2)


def test_noise_is_that_of_the_photons_that_are_left():
    scanner = Scanner(64, 300, views=400, photons=1e4)
    lengths = np.zeros((400, scanner.elements, SUBRAYS, len(NAMES)))
    lengths[..., 0] = 100.0
    seen = measured(lengths, scanner, np.random.default_rng(0))
    slope = np.diff(water_corrected(np.array([2.0, 2.001])))[0] / 0.001
    expected = slope / np.sqrt(1e4 * transmission(lengths[0, 0, 0]))
    assert seen.std() == pytest.approx(expected, rel=0.03)
    assert seen.mean() == pytest.approx(100 * MU[0, REFERENCE], rel=0.002)


def test_an_element_averages_what_passes_and_not_what_is_absorbed():
    """A ray of three that misses the metal lets more through than the mean length would."""
    lengths = np.zeros((1, 1, 3, len(NAMES)))
    lengths[0, 0, 0, NAMES.index("steel")] = 30.0
    even = np.repeat(lengths.mean(2, keepdims=True), 3, axis=2)
    scanner = Scanner(64)
    assert measured(lengths, scanner, None)[0, 0] < 0.5 * measured(even, scanner, None)[0, 0]


def test_materials_are_what_scanners_show():
    expected = {"fat": (-120, -80), "muscle": (40, 70), "cortical": (1000, 1500), "enamel": (2400, 3000)}
    for name, (low, high) in expected.items():
        assert low <= hounsfield(name) <= high
    assert hounsfield("air") == -1000
    assert all(hounsfield(name) < 3071 for name in TISSUES)
    assert 8000 < hounsfield("ti64") < hounsfield("steel") < hounsfield("cocr") < hounsfield("gold")
    maps = tissue_maps(np.array([-1000.0, 0.0, 60.0, 800.0]))
    hu = 1000 * (np.tensordot(MU[:, REFERENCE], maps, 1) / MU[0, REFERENCE] - 1)
    np.testing.assert_allclose(hu, [-1000, 0, 60, 800], atol=1e-6)

"""Edges at label borders, before and after."""

import numpy as np
import pytest

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.borders import REACH
from monai_medaug.functional.edges import displacement, disturbed_places, edges_kept
from monai_medaug.functional.transfer import transfer_curve


@pytest.mark.parametrize("by", [(0.0, 0.0, 0.0), (1.5, -2.0, 0.5)])
def test_a_translation_is_found_from_edges_of_all_directions(by):
    normals = np.random.RandomState(0).normal(size=(30, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    shifts = np.rint(2 * normals @ by) / 2  # as they are looked for
    shifts[::7] = np.nan
    assert displacement(normals, shifts) == pytest.approx(np.array(by), abs=0.25)


def test_directions_that_no_edge_shows_stay():
    normals = np.array([[0, 0, 1.0], [0, 0.1, 0.995], [0, -0.1, 0.995]])
    assert displacement(normals, np.array([2.0, 2.0, 1.5]))[1] == pytest.approx(0, abs=0.3)
    assert displacement(normals, np.full(3, np.nan)).tolist() == [0, 0, 0]


def test_shifts_of_edges_along_their_lines():
    along, place = np.arange(-REACH, REACH + 1.0), np.repeat(np.arange(4), 12)
    noise = np.random.RandomState(0).normal(0, 0.02, (2, 48, len(along)))
    before, after = (np.tanh(along - by)[None] + n for by, n in zip((0.0, 2.0), noise, strict=True))
    edges = edges_kept(place, before, after, np.ones(48, bool), transfer_curve(before.ravel(), before.ravel()))
    assert edges.shift.tolist() == [2.0] * 4
    assert edges.kept == 0


def test_edges_do_not_depend_on_the_path():
    random = np.random.RandomState(0)
    place = np.sort(random.randint(0, 20, 150))
    before = np.tanh(np.arange(-REACH, REACH + 1.0)) * random.choice([0, 1, 5], 20)[place, None]
    before += random.normal(0, 0.1, before.shape)
    after, known = np.minimum(2 * before, 3) + random.normal(0, 0.3, before.shape), random.rand(150) > 0.1
    curve = transfer_curve(before.ravel(), after.ravel())
    found = edges_kept(place, before, after, known, curve), disturbed_places(place, before, after, curve)
    with torch_only():
        other = edges_kept(place, before, after, known, curve), disturbed_places(place, before, after, curve)
    assert 5 < found[0].visible < 20
    for name in ("visible", "kept", "disturbed", "steepness", "size", "seen", "fits", "shift"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(other[0], name), rtol=1e-9)
    assert found[1] == other[1]

import numpy as np
import pytest

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.transfer import TransferCurve, transfer_curve

X = np.random.RandomState(0).uniform(-1000, 1000, 20000)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: 3 * x + 7,
        lambda x: ((x + 1000) / 2000) ** 0.7,
        lambda x: np.clip(x, -150, 250),
        lambda x: np.tanh(x / 300),
    ],
)
def test_gain_gamma_and_windows_are_found_through_noise(change):
    after = change(X)
    noisy = after + np.random.RandomState(1).normal(0, 0.1 * after.std(), X.size)
    curve = transfer_curve(X, noisy)
    at = np.linspace(-950, 950, 100)
    assert np.abs(curve(at) - change(at)).max() < 0.05 * np.ptp(after)
    assert (np.diff(curve(np.linspace(-1500, 1500, 400))) >= -1e-9).all()


def test_it_never_falls_and_goes_on_beyond_its_ends():
    assert np.ptp(transfer_curve(X, -X)(X)) < 50
    line = transfer_curve(X, 2 * X)
    assert line(np.array([5000.0]))[0] == pytest.approx(10000, rel=0.01)
    assert transfer_curve(np.full(10, 3.0), np.full(10, 4.0))(np.array([3.0, 8.0])).tolist() == [4, 4]
    assert transfer_curve(np.zeros(0), np.zeros(0))(np.array([1.0])).tolist() == [1]


def test_a_shutter_over_a_part_does_not_bend_the_curve_of_the_rest():
    covered = np.where(np.arange(X.size) % 5 == 0, -1000.0, 2 * X)
    at = np.linspace(-900, 900, 100)
    assert np.abs(transfer_curve(X, covered)(at) - 2 * at).max() < 20


def test_a_flat_region_that_resampling_rounded_is_one_value():
    """Or its noise after the change would bend the curve at steps of nothing."""
    random = np.random.RandomState(0)
    flat = np.repeat([10.0, 40.0, 90.0], 2000)
    after = flat + random.normal(0, 8, len(flat))
    curves = [transfer_curve(flat * (1 + 1e-9 * random.normal(size=len(flat))), after) for _ in range(2)]
    values = np.array([10.0, 39.9999999, 40.0, 40.0000001, 90.0])
    found = [curve(values) for curve in curves]
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)
    np.testing.assert_allclose(found[0], values, atol=1)


@pytest.mark.parametrize("knots", [1, 2, 3, 64])
def test_values_through_a_curve_are_those_of_numpy(knots):
    random = np.random.RandomState(0)
    before, after = np.cumsum(random.gamma(0.2, size=knots) + 1e-6), np.sort(random.normal(size=knots))
    curve = TransferCurve(before, after, 1.5)
    values = np.concatenate([random.uniform(before[0] - 1, before[-1] + 1, 500), before])
    with torch_only():
        expected = curve(values)
    np.testing.assert_allclose(curve(values), expected, rtol=1e-9, atol=1e-12)

import numpy as np
import pytest

from monai_medaug.functional.transfer import transfer_curve

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

import numpy as np
import pytest
import torch

from monai_medaug.functional.preservation import (
    around,
    contrast_to_noise,
    counting_slack,
    label_counts,
    lesion_topology,
    ring_around,
)


def test_figures_against_hand_counts():
    mask = np.zeros((30, 30), bool)
    mask[5:25, 5:25] = True
    mask[10:15, 10:15] = False
    mask[0, 0] = True  # a speck, below 1 %
    assert lesion_topology(torch.from_numpy(mask)) == {"components": 1, "cavities": 1, "euler_number": 1}
    assert label_counts(torch.tensor([[[1, 2]], [[0, 2]]])) == {"0:1": 1, "0:2": 1, "1:2": 1}
    assert counting_slack(1000, 3) == pytest.approx(0.02)
    image = torch.zeros(20, 20)
    inside = torch.zeros(20, 20, dtype=torch.bool)
    inside[8:12, 8:12] = True
    image[inside] = 10
    image[::2] += 1
    image[1::2] -= 1
    assert contrast_to_noise(image, inside, ring_around(inside)) == pytest.approx(10, rel=0.02)
    assert around(inside, 2) == (slice(6, 14), slice(6, 14))


def test_the_slack_covers_resampling_and_not_more():
    """A ball at random offsets: 95 % of its counts lie within the slack, some beyond a tenth of it."""
    random = np.random.RandomState(0)
    grid = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"), -1)
    for radius in (2.0, 4.0, 8.0):
        counts = [(((grid - 12 - random.rand(3)) ** 2).sum(-1) < radius**2).sum() for _ in range(60)]
        expected = 4 / 3 * np.pi * radius**3
        changes = np.abs(np.array(counts) / expected - 1)
        assert np.quantile(changes, 0.95) < counting_slack(expected, 3)
        assert changes.max() > 0.1 * counting_slack(expected, 3)

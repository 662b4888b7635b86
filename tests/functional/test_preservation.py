import numpy as np
import pytest

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.preservation import (
    around,
    components,
    counting_slack,
    label_counts,
    label_points,
    lesion_topology,
    of_each,
    spread,
    spread_each,
    stands_for,
    topology_changes,
)


def test_figures_against_hand_counts():
    mask = np.zeros((30, 30), bool)
    mask[5:25, 5:25] = True
    mask[10:15, 10:15] = False
    mask[0, 0] = True  # a speck, below 1 %
    assert lesion_topology(*components(mask)) == {"components": 1, "cavities": 1}
    assert lesion_topology(*components(mask), speck=0.001) == {"components": 2, "cavities": 1}
    assert components(mask)[0].shape == (376, 2)
    assert counting_slack(1000, 3) == pytest.approx(0.02)
    assert around(mask, 2) == (slice(0, 27), slice(0, 27))


def test_parts_that_are_lost_split_or_made_count_and_specks_do_not():
    def lesion(*boxes):
        mask = np.zeros((40, 40), bool)
        for y, x, n in boxes:
            mask[y : y + n, x : x + n] = True
        return components(mask)

    two = lesion((2, 2, 10), (20, 20, 10))
    assert topology_changes(two, lesion((2, 2, 10))) == {"components": (2, 1)}
    assert topology_changes(lesion((2, 2, 10)), two) == {"components": (1, 2)}
    assert topology_changes(lesion((2, 2, 10), (30, 30, 1)), lesion((2, 2, 10))) == {}
    hollow = np.zeros((40, 40), bool)
    hollow[2:12, 2:12] = True
    hollow[5:9, 5:9] = False
    assert topology_changes(lesion((2, 2, 10)), components(hollow)) == {"cavities": (0, 1)}


@pytest.mark.parametrize("shape", [(40, 36, 32), (64, 48)])
def test_points_lie_in_their_label_and_spread_over_it(shape):
    labels = np.zeros(shape, np.int16)
    labels[4:30, 4:30] = 1
    labels.flat[-3:] = 9  # three voxels: all of them are found
    points, names = label_points(labels, label_counts(labels), 200)
    index = tuple(points[:, 3 - labels.ndim :].T)
    assert np.array_equal(labels[index], names)
    assert (names == 9).sum() == 3
    own = points[names == 1][:, 3 - labels.ndim :]
    inside = np.argwhere(labels == 1)
    assert np.abs(own.mean(0) - inside.mean(0)).max() < 1
    assert np.abs(own.std(0) / inside.std(0) - 1).max() < 0.1


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


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.float32])
@pytest.mark.parametrize("size", [3, 64, 1001])
def test_labels_are_counted_on_each_path(kind, size):
    labels = np.repeat(np.random.RandomState(0).randint(0, 5, size), 3).astype(kind)
    expected = {float(v): int((labels == v).sum()) for v in np.unique(labels) if v}
    assert label_counts(labels) == expected
    with torch_only():
        assert label_counts(labels) == expected


@pytest.mark.parametrize("wanted", [1, 2, 12, 60])
def test_many_are_spread_as_one(wanted):
    counts = np.arange(1, 200, 7)
    which, place = spread_each(counts, wanted)
    assert [place[which == i].tolist() for i in range(len(counts))] == [spread(n, wanted).tolist() for n in counts]


def test_bridges_and_gaps_of_a_voxel_depend_on_the_sampling():
    bridge = np.zeros((40, 40), bool)
    bridge[2:12, 2:12] = bridge[2:12, 13:23] = bridge[6, 12] = True
    cut = bridge.copy()
    cut[6, 12] = False
    assert topology_changes(components(bridge), components(cut)) == {}
    assert topology_changes(components(cut), components(bridge)) == {}
    wide = bridge.copy()
    wide[:, 12:14] = False  # a gap of two
    assert topology_changes(components(bridge), components(wide)) == {"components": (1, 2)}


@pytest.mark.parametrize("count", [3, 40])
def test_chosen_voxels_of_few_labels_and_of_many(count):
    labels = np.random.RandomState(0).randint(0, count, (160, 500)).astype(np.int16)
    labels[:70] = 0
    points, names = label_points(labels, label_counts(labels), 100)
    assert np.array_equal(labels[points[:, 1], points[:, 2]], names)
    assert np.bincount(names.astype(int)).tolist() == [0] + [100] * (count - 1)


def test_a_share_of_the_lesion_is_not_that_of_the_voxels_looked_at():
    """30 components of 50 voxels, one in 13 of all, are looked at more closely than the large one."""
    component = np.repeat(np.arange(1, 32), [18000] + [50] * 30)
    some = of_each(component)
    lost = component[some] > 1
    assert lost.mean() > 0.3
    assert np.average(lost, weights=stands_for(component, some)) == pytest.approx(1500 / 19500, rel=0.03)

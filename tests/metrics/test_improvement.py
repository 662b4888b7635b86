"""Improvement of segmentation and classification: closed forms, empty masks, handlers, processes."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import binary_erosion, distance_transform_edt

from monai_medaug.functional.paired import wilcoxon_p
from monai_medaug.metrics import ClassificationImprovementMetric, SegmentationImprovementMetric


def ball(shape, centre, radius):
    grid = np.indices(shape)
    return torch.from_numpy(
        (sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2).astype(np.float32)
    )


def cases(count=12, shape=(20, 22)):
    random = np.random.default_rng(0)
    truth = torch.stack([ball(shape, (10, 11), 6 + random.random()) for _ in range(count)])[:, None]
    poor = torch.stack([ball(shape, (10 + random.integers(-2, 3), 12), 5) for _ in range(count)])[:, None]
    better = torch.stack([ball(shape, (10 + random.integers(-1, 2), 11), 6) for _ in range(count)])[:, None]
    return torch.stack([poor, better], 1), truth


def hausdorff(a, b, spacing, percentile):
    """Both directions by distance transforms, from border to border."""
    borders = [m & ~binary_erosion(m) for m in (a, b)]
    far = [distance_transform_edt(~m, sampling=spacing) for m in borders]
    return max(np.percentile(d[own], percentile) for d, own in ((far[1], borders[0]), (far[0], borders[1])))


@pytest.mark.parametrize("shape", [(20, 22), (14, 16, 10)])
def test_every_measure_of_every_case(shape):
    spacing = (0.5, 2.0, 3.0)[: len(shape)]
    centre = [n / 2 for n in shape]
    truth = ball(shape, centre, 5)[None, None]
    pair = torch.stack([ball(shape, [c + 1 for c in centre], 3), ball(shape, centre, 4)])[None, :, None]
    found = SegmentationImprovementMetric(spacing_mm=spacing)(pair, truth)
    b = truth[0, 0].numpy().astype(bool)
    for side in (0, 1):
        a = pair[0, side, 0].numpy().astype(bool)
        expected = [2 * (a & b).sum() / (a.sum() + b.sum()), (a & b).sum() / (a | b).sum()]
        expected += [hausdorff(a, b, spacing, p) for p in (95, 100)]
        assert found[0, side].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_report_is_of_paired_gains():
    pair, truth = cases()
    metric = SegmentationImprovementMetric(spacing_mm=1.0)
    metric(pair[:5], truth[:5])
    metric(list(pair[5:]), list(truth[5:]))
    values = metric.get_buffer().numpy()
    report = metric.report()
    gains = values[:, 1, 0] - values[:, 0, 0]
    dice = report["dice"]
    assert dice["gain"] == pytest.approx(gains.mean())
    assert dice["interval"][0] < dice["gain"] < dice["interval"][1]
    assert dice["p"] == pytest.approx(wilcoxon_p(gains))
    assert dice["percent"] == pytest.approx(100 * gains.mean() / values[:, 0, 0].mean())
    distance = report["hausdorff_mm"]
    assert distance["gain"] == pytest.approx((values[:, 0, 3] - values[:, 1, 3]).mean())
    assert float(metric.aggregate()) == pytest.approx(dice["gain"])
    assert json.loads(report.to_json())["iou"]["cases"] == 12
    assert "hausdorff95_mm" in str(report)


def test_empty_masks_are_finite_by_the_rule():
    truth, empty = ball((8, 11), (4, 5), 2)[None], torch.zeros(1, 8, 11)
    diagonal = math.hypot(7 * 2.0, 10 * 3.0)
    metric = SegmentationImprovementMetric(spacing_mm=(2.0, 3.0))
    found = metric(
        [torch.stack([empty, truth]), torch.stack([truth, empty]), torch.stack([empty, truth])], [truth, truth, empty]
    )
    assert found[0].tolist() == [[0, 0, *[pytest.approx(diagonal)] * 2], [1, 1, 0, 0]]
    assert found[1].tolist() == found[0].flip(0).tolist()
    assert found[2].tolist() == [[1, 1, 0, 0], [0, 0, *[pytest.approx(diagonal)] * 2]]
    report = metric.report()
    assert all(math.isfinite(v) for entry in report.values() for v in (entry["gain"], *entry["interval"], entry["p"]))
    nothing = SegmentationImprovementMetric(spacing_mm=1.0)
    nothing([torch.stack([empty, truth])], [truth])
    assert nothing.report()["dice"]["percent"] is None
    assert "-" in str(nothing.report())


def test_spacing_comes_from_the_truth_and_its_absence_is_said():
    pair, truth = cases(2)
    placed = MetaTensor(truth, affine=torch.diag(torch.tensor([2.0, 2.0, 1.0, 1.0])))
    known = SegmentationImprovementMetric()(pair, placed)
    with pytest.warns(UserWarning, match="masks without an affine"):
        unknown = SegmentationImprovementMetric()(pair, truth)
    assert torch.allclose(known[..., 2:], 2 * unknown[..., 2:])
    each = [MetaTensor(t, affine=placed.affine) for t in truth]
    assert torch.equal(SegmentationImprovementMetric()(list(pair), each), known)


def test_the_background_of_several_channels_does_not_count():
    pair, truth = cases(3)
    hot_pair, hot_truth = torch.cat([1 - pair, pair], 2), torch.cat([1 - truth, truth], 1)
    one, two = (SegmentationImprovementMetric(spacing_mm=1.0) for _ in range(2))
    assert torch.equal(one(pair, truth), two(hot_pair, hot_truth))


@pytest.mark.parametrize(
    ("pair", "truth", "said"),
    [
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8), r"y_pred must have the shape \(2, 2, 1, 8, 8\)"),
        (torch.full((1, 2, 1, 8, 8), 0.4), torch.zeros(1, 1, 8, 8), "y_pred must hold 0 and 1"),
        (torch.zeros(1, 2, 1, 8, 8), torch.full((1, 1, 8, 8), math.nan), "y must hold 0 and 1"),
    ],
)
def test_what_are_no_masks_is_refused(pair, truth, said):
    with pytest.raises(ValueError, match=said):
        SegmentationImprovementMetric(spacing_mm=1.0)(pair, truth)


def scores(count=40, classes=2, seed=0):
    random = np.random.default_rng(seed)
    truth = torch.from_numpy(random.integers(0, classes, count))
    own = torch.nn.functional.one_hot(truth, classes).numpy()
    both = [random.normal(0, 1, (count, classes)) + strength * own for strength in (0.5, 2.0)]
    return torch.from_numpy(np.stack(both, 1)), truth


@pytest.mark.parametrize("classes", [2, 3])
def test_accuracy_and_area_under_the_curve(classes):
    from sklearn.metrics import roc_auc_score

    both, truth = scores(60, classes)
    metric = ClassificationImprovementMetric()
    metric(both[:31], truth[:31])
    metric(list(both[31:]), list(truth[31:]))
    report = metric.report()
    for side, name in enumerate(("original", "enhanced")):
        own = both[:, side].numpy()
        assert report["accuracy"][name] == pytest.approx((own.argmax(1) == truth.numpy()).mean())
        one_hot = np.eye(classes)[truth.numpy()]
        each = [roc_auc_score(one_hot[:, c], own[:, c]) for c in range(classes)]
        expected = roc_auc_score(truth.numpy(), own[:, 1] - own[:, 0]) if classes == 2 else np.mean(each)
        assert report["auc"][name] == pytest.approx(expected)
    assert report["auc"]["p"] < 0.05
    assert report["auc"]["interval"][0] > 0
    assert float(metric.aggregate()) == pytest.approx(report["accuracy"]["gain"])


def test_one_class_leaves_the_area_undefined_and_the_report_readable():
    metric = ClassificationImprovementMetric()
    metric(torch.rand(5, 2, 1), torch.ones(5, 1))
    report = metric.report()
    assert report["auc"]["gain"] is None
    assert report["accuracy"]["gain"] is not None
    assert "not defined" in str(report)
    assert "null" in report.to_json()


@pytest.mark.parametrize(
    ("both", "truth", "said"),
    [
        (torch.rand(4, 3), torch.zeros(4), r"y_pred must have the shape \(B, 2, C\)"),
        (torch.rand(4, 2, 2), torch.zeros(3), r"y_pred must have the shape \(B, 2, C\)"),
        (torch.full((4, 2, 2), math.nan), torch.zeros(4), "y_pred must be finite"),
        (torch.rand(4, 2, 2), torch.tensor([0, 1, 2, 0]), "y must hold classes from 0 to 1"),
    ],
)
def test_what_are_no_scores_is_refused(both, truth, said):
    with pytest.raises(ValueError, match=said):
        ClassificationImprovementMetric()(both, truth)


@pytest.mark.parametrize("metric", [SegmentationImprovementMetric(spacing_mm=1.0), ClassificationImprovementMetric()])
def test_a_report_needs_cases(metric):
    with pytest.raises(ValueError, match="no cases were added"):
        metric.report()


def test_any_predictor_and_monais_evaluator():
    pytest.importorskip("ignite")
    from monai.engines import SupervisedEvaluator
    from monai.handlers import IgniteMetricHandler

    pair, truth = cases(6)
    images = pair[:, :, 0]  # a predictor that thresholds finds these masks
    direct, handled = (SegmentationImprovementMetric(spacing_mm=1.0) for _ in range(2))
    direct.add_cases(lambda image: (image > 0.5)[None].float(), images[:, 0], images[:, 1], truth)

    class BothVersions(torch.nn.Module):
        def forward(self, x):
            return torch.stack([(x[:, k : k + 1] > 0.5).float() for k in (0, 1)], 1)

    items = [{"image": images[i], "label": truth[i]} for i in range(6)]
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(items, batch_size=4),
        network=BothVersions(),
        key_val_metric={
            "gain": IgniteMetricHandler(
                handled, output_transform=lambda o: ([item["pred"] for item in o], [item["label"] for item in o])
            )
        },
    )
    evaluator.run()
    assert evaluator.state.metrics["gain"] == pytest.approx(float(direct.aggregate()))
    assert str(handled.report()) == str(direct.report())


WORKER = """
import os, sys
import torch
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=int(sys.argv[1]), world_size=2)
from tests.metrics.test_improvement import cumulated
print("RESULT", cumulated(int(sys.argv[1]), 2), flush=True)
os._exit(0)
"""


def cumulated(rank, world):
    """Aggregates of every kind of metric over a rank's share of 7 cases; every rank sees the same."""
    from monai_medaug.metrics import SeparableSSIMMetric, SharpnessMetric

    pair, truth = cases(7)
    both, classes = scores(7, 2, 3)
    mine = range(rank, 7, world)
    metrics = [
        SegmentationImprovementMetric(spacing_mm=1.0),
        ClassificationImprovementMetric(),
        SeparableSSIMMetric(1.0),
        SharpnessMetric(),
    ]
    for i in mine:
        metrics[0](pair[i : i + 1], truth[i : i + 1])
        metrics[1](both[i : i + 1], classes[i : i + 1])
        metrics[2](pair[i : i + 1, 0], truth[i : i + 1])
        metrics[3](pair[i : i + 1, 1])
    found = [float(m.aggregate()) for m in metrics]
    return [round(v, 5) for v in [*found, metrics[0].report()["dice"]["p"], metrics[1].report()["auc"]["gain"]]]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            [sys.executable, "worker.py", str(rank), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        for rank in (0, 1)
    ]
    said = [p.communicate(timeout=300)[0] for p in running]
    assert all(f"RESULT {cumulated(0, 1)}" in text for text in said)

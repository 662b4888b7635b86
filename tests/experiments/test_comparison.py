"""Comparing strategies: equal treatment, resuming, what helps and what harms, and what is refused."""

import json

import numpy as np
import pytest
import torch
from monai.transforms import RandFlipd, RandScaleIntensityd
from torch import nn

pytest.importorskip("ignite")

from monai_medaug.experiments import AugmentationStrategy, StrategyComparison, compare_strategies, plot_strategies
from monai_medaug.experiments.training import initial_network
from monai_medaug.transforms import BatchMixUpd


def squares(count: int = 12, seed: int = 0, gain: float = 1.0) -> list[dict]:
    """Bright squares on a dark ground, and where they are."""
    rng, found = np.random.default_rng(seed), []
    for n in range(count):
        mask = np.zeros((1, 16, 16), np.uint8)
        row, column, side = rng.integers(1, 9, 3)
        mask[:, row : row + side, column : column + side] = 1
        image = gain * (mask + 0.2 * rng.normal(size=mask.shape)).astype(np.float32)
        found.append({"image": image, "label": mask, "patient": f"p{n // 2}", "class": int(side > 4)})
    return found


def segmenter(drop: float = 0.0) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Dropout(drop), nn.Conv2d(4, 2, 1))


def classifier() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 2))


def compared(folder, strategies=("none", "monai_brats"), network=segmenter, training=None, **changes):
    given = {"seeds": 2, "epochs": 2, "batch_size": 4, "progress": False, "learning_rate": 0.01} | changes
    tests = given.pop("tests", {"in domain": squares(6, 1), "shifted": squares(6, 2, 0.3)})
    return compare_strategies(strategies, network, training or squares(), tests, folder, **given)


def test_what_comes_out(tmp_path):
    found = compared(tmp_path, group_key="patient")
    assert found["tests"] == {"in domain": {"cases": 6, "groups": 3}, "shifted": {"cases": 6, "groups": 3}}
    assert found["baseline"] == "none"
    assert found["strategies"]["none"]["tests"]["shifted"]["dice"]["gain"] is None
    own = found["strategies"]["monai_brats"]
    assert len(own["history"]) == 2
    assert len(own["history"][0]["loss"]) == len(own["history"][1]["tests"]["shifted"]["dice"]) == 2
    figure = own["tests"]["in domain"]["dice"]
    assert figure["mean"] == pytest.approx(np.mean(figure["seeds"]))
    assert figure["seeds"] == pytest.approx([run["tests"]["in domain"]["dice"][-1] for run in own["history"]], abs=1e-6)
    base = found["strategies"]["none"]["tests"]["in domain"]["dice"]
    assert figure["gain"] == pytest.approx(figure["mean"] - base["mean"])
    assert figure["gain_interval"][0] <= figure["gain"] <= figure["gain_interval"][1]
    assert StrategyComparison.from_json(tmp_path / "comparison.json") == found
    assert (tmp_path / "comparison.md").read_text() == f"{found}\n"
    assert str(found).count("| monai_brats |") == 2
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.part"))


def test_equal_strategies_are_equal(tmp_path):
    """Weights, order and the dropped units are those of the seed, not of the strategy."""
    found = compared(tmp_path, {"a": None, "b": AugmentationStrategy()}, lambda: segmenter(0.5))
    a, b = (found["strategies"][name] for name in "ab")
    assert a["history"] == b["history"]
    assert b["tests"]["shifted"]["dice"]["gain_interval"] == [0, 0]
    assert a["history"][0] != a["history"][1], "seeds make no difference"


def test_a_run_that_was_killed_goes_on_to_the_same_result(tmp_path):
    class Killed(nn.Module):
        calls = 0

        def forward(self, prediction, target):
            Killed.calls += 1
            if Killed.calls == 14:
                raise KeyboardInterrupt
            return nn.functional.cross_entropy(prediction, target[:, 0].long())

    def network():
        return segmenter(0.5)

    with pytest.raises(KeyboardInterrupt):
        compared(tmp_path / "a", network=network, loss=Killed(), epochs=3, seeds=1)
    assert list((tmp_path / "a" / "runs").glob("*.pt"))
    found = compared(tmp_path / "a", network=network, loss=Killed(), epochs=3, seeds=1)
    assert found == compared(tmp_path / "b", network=network, loss=Killed(), epochs=3, seeds=1)


def test_loader_workers_make_no_difference(tmp_path):
    alone = compared(tmp_path / "a", ["none", "nnunet"], seeds=1)
    helped = compared(tmp_path / "b", ["none", "nnunet"], seeds=1, num_workers=2)
    assert alone["strategies"] == helped["strategies"]


def test_more_seeds_and_strategies_come_later(tmp_path):
    before = compared(tmp_path, seeds=[0])
    stamp = (tmp_path / "runs" / "none.0.json").stat().st_mtime_ns
    after = compared(tmp_path, ["none", "monai_brats", "monai_mednist"], seeds=[0, 1])
    assert (tmp_path / "runs" / "none.0.json").stat().st_mtime_ns == stamp
    for name in before["strategies"]:
        assert after["strategies"][name]["history"][0] == before["strategies"][name]["history"][0]


def test_a_strategy_that_writes_into_its_input_spoils_no_other(tmp_path):
    def blacken(data):
        data["image"] *= 0
        return data

    found = compared(tmp_path / "a", {"black": blacken, "none": None}, seeds=1, baseline="none")
    alone = compared(tmp_path / "b", {"none": None, "again": None}, seeds=1)
    assert found["strategies"]["none"]["history"] == alone["strategies"]["none"]["history"]


class EachPixel(nn.Module):
    """Learns of each pixel what it means, and nothing of those that were never bright."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.zeros(1, 16, 16)) for _ in range(2))

    def forward(self, x):
        return self.weight * x + self.bias


def test_what_helps_and_what_harms_is_seen(tmp_path):
    """Squares in the upper half of all training images, in the lower half of the shifted ones: flips help."""
    upper = squares(24)
    for item in upper:
        item["image"][:, 8:] *= 1 - item["label"][:, 8:]
        item["label"][:, 8:] = 0
    lower = [{k: v[:, ::-1].copy() for k, v in item.items() if k in ("image", "label")} for item in upper[:8]]
    strategies = {
        "none": None,
        "flips": RandFlipd(["image", "label"], prob=0.5, spatial_axis=0),
        "no image": lambda data: {**data, "image": 0 * data["image"]},
    }
    tests = {"in domain": upper[8:16], "shifted": lower}
    changes = {"seeds": 2, "epochs": 1, "learning_rate": 0.1, "epoch_length": 24, "tests": tests}
    found = compared(tmp_path, strategies, EachPixel, upper[16:], **changes)["strategies"]
    assert found["none"]["tests"]["shifted"]["dice"]["mean"] < 0.1
    assert found["flips"]["tests"]["shifted"]["dice"]["gain"] > 0.1
    assert found["flips"]["tests"]["shifted"]["dice"]["seeds_better"] == 2
    assert found["no image"]["tests"]["in domain"]["dice"]["gain"] < -0.1


def test_classes_and_a_mix_of_batches(tmp_path):
    from sklearn.metrics import roc_auc_score

    mix = AugmentationStrategy(batch=BatchMixUpd("image", label_keys="class", num_classes=2))
    tests = {"test": squares(20, 1)}
    found = compared(
        tmp_path, {"none": None, "mixup": mix}, classifier, task="classification", label_key="class", tests=tests
    )
    for name in ("none", "mixup"):
        run = json.loads((tmp_path / "runs" / f"{name}.1.json").read_text())["outcomes"]["test"]
        score = np.array(run["values"])[:, 1]
        own = found["strategies"][name]["tests"]["test"]
        assert own["auc"]["seeds"][1] == pytest.approx(roc_auc_score(run["truth"], score))
        assert own["accuracy"]["seeds"][1] == pytest.approx(np.mean((score > 0.5) == np.array(run["truth"])))
    assert found["strategies"]["none"]["history"] != found["strategies"]["mixup"]["history"]


def test_a_test_set_of_one_class_has_no_area(tmp_path):
    tests = {"test": [item | {"class": 1} for item in squares(4, 1)]}
    found = compared(tmp_path, network=classifier, task="classification", label_key="class", tests=tests)
    own = found["strategies"]["monai_brats"]["tests"]["test"]
    assert own["auc"]["mean"] is own["auc"]["gain"] is own["auc"]["gain_interval"] is None
    assert own["accuracy"]["gain_interval"] is not None
    assert "NaN" not in (tmp_path / "comparison.json").read_text()
    assert "| - |" in str(found)
    plot_strategies(found)


def test_each_seed_may_have_a_training_set_of_its_own(tmp_path):
    asked = []

    def training(seed):
        asked.append(seed)
        return squares(5 + seed, 10 + seed)

    found = compared(tmp_path, training=training, epoch_length=3)
    assert sorted(set(asked)) == [0, 1]
    assert found["settings"]["steps_per_epoch"] == 3


def test_the_callers_random_numbers_are_left_alone(tmp_path):
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    compared(tmp_path, seeds=1, epochs=1)
    assert (torch.rand(1), np.random.rand()) == expected
    assert initial_network(segmenter, 3).state_dict()["0.weight"].std() > 0


def test_another_comparison_in_the_folder_is_refused(tmp_path):
    strategies = {"none": None, "own": RandScaleIntensityd("image", factors=0.1, prob=1.0)}
    compared(tmp_path, strategies, seeds=1, epochs=1)
    for changes, said in (
        ({"epochs": 2}, "another epochs"),
        ({"tests": {"in domain": squares(6, 9)}}, "another tests"),
        ({"training": squares(12, 7)}, "another under 'none'"),
        ({"network": lambda: nn.Conv2d(1, 2, 1)}, "another under 'none'"),
    ):
        with pytest.raises(ValueError, match=said):
            compared(tmp_path, strategies, **({"seeds": 1, "epochs": 1} | changes))
    strategies["own"] = RandScaleIntensityd("image", factors=0.2, prob=1.0)
    with pytest.raises(ValueError, match="another under 'own'"):
        compared(tmp_path, strategies, seeds=1, epochs=1)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"strategies": ["none"]}, ValueError, "strategies must be two or more"),
        ({"strategies": "none"}, TypeError, "strategies must be a dictionary or a list"),
        ({"strategies": ["none", "best"]}, ValueError, "name must be one of"),
        ({"strategies": {"a": None, "b": 3}}, TypeError, r"strategies\['b'\] must be None"),
        ({"strategies": {"a b": None, "a_b": None}}, ValueError, "names that differ"),
        ({"network": segmenter()}, TypeError, "network must be a function"),
        ({"network": dict}, TypeError, "network must make a torch.nn.Module"),
        ({"training": [{"image": 1}]}, ValueError, "training must be samples with 'label'"),
        ({"training": [3]}, ValueError, "training must be a list of dictionaries"),
        ({"tests": {}}, ValueError, "tests must be a dictionary of sets"),
        ({"tests": {"a": []}}, ValueError, r"tests\['a'\] must be a list"),
        (
            {
                "network": lambda: nn.Conv2d(1, 2, 1),
                "training": [{"image": np.ones((1, 4, 4)), "label": 2 * np.ones((1, 4, 4))}],
            },
            ValueError,
            "label must hold classes below",
        ),
        ({"baseline": "best"}, ValueError, "baseline must be one of"),
        ({"seeds": [1, 1]}, ValueError, "seeds must be different"),
        ({"seeds": 0}, ValueError, "seeds must be"),
        ({"task": "detection"}, ValueError, "task must be one of"),
        ({"group_key": "ward"}, ValueError, r"tests\['in domain'\] must be samples with 'ward'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        compared(tmp_path, **changes)


def test_images_that_are_not_finite_are_said(tmp_path):
    broken = squares()
    broken[0]["image"][0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="loss must be finite"):
        compared(tmp_path, training=broken)

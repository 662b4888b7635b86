"""Objectives of a search and the judgement of its result, on small images whose answer is known."""

import pickle

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import UNet

from monai_medaug.experiments import DensityMatching, PolicyTraining, judge_policies
from monai_medaug.policies import (
    AugmentationPolicy,
    PolicyPruned,
    PolicySpace,
    PolicyTrial,
    PreservationConstraint,
    search_policy,
)

GENTLE = AugmentationPolicy("xray", [[["gamma", 0.5, 0.1]]])
HARSH = AugmentationPolicy("xray", [[["blur", 1, 1]] * 5])


def network():
    return UNet(2, 1, 2, (4, 8), (2,))


def squares(count: int, seed: int = 0) -> list[dict]:
    """Bright squares on noise."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        mask = np.zeros((1, 24, 24), np.uint8)
        x, y = rng.integers(3, 12, 2)
        mask[:, x : x + 8, y : y + 8] = 1
        image = mask * 2 + rng.normal(0, 0.3, mask.shape)
        found.append({"image": torch.from_numpy(image.astype(np.float32)), "label": torch.from_numpy(mask)})
    return found


SETTINGS = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "test_batch_size": 8, "device": "cpu"}


def test_training_scores_a_policy_and_repeats_itself():
    objective = PolicyTraining(network, squares(12), squares(8, 1), **SETTINGS)
    scores = [objective(GENTLE, PolicyTrial(n, seed=1)) for n in (0, 5)]
    assert scores[0] == scores[1], "trials of one search don't start alike"
    assert 0.5 < scores[0] <= 1
    assert objective(HARSH, PolicyTrial(0, seed=1)) != scores[0]
    assert objective.settings["training"] != objective.settings["validation"]
    assert PolicyTraining(network, squares(12, 3), squares(8, 1), **SETTINGS).settings != objective.settings


def test_a_pruned_trial_ends_at_once_and_quietly(capsys):
    told = []

    class Strict(PolicyTrial):
        def report(self, score, epoch):
            told.append(epoch)
            raise PolicyPruned

    with pytest.raises(PolicyPruned):
        PolicyTraining(network, squares(4), squares(4, 1), **SETTINGS)(GENTLE, Strict(0, 0))
    assert told == [1]
    assert "terminat" not in "".join(capsys.readouterr()).lower()


def test_classes_are_scored_by_the_area_under_the_curve():
    items = [{"image": i["image"] * n % 2, "label": n % 2} for n, i in enumerate(squares(12))]

    def classifier():
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(4, 2))

    objective = PolicyTraining(classifier, items[:8], items[8:], task="classification", **SETTINGS)
    assert objective.measure == "auc"
    assert 0 <= objective(GENTLE, PolicyTrial(0, 0)) <= 1


def test_density_matching_trains_once_and_prefers_what_looks_like_the_data(tmp_path, monkeypatch):
    objective = DensityMatching(network, squares(16), squares(8, 1), tmp_path, draws=2, **{**SETTINGS, "epochs": 8})
    trial = PolicyTrial(0, seed=0)
    gentle, harsh = objective(GENTLE, trial), objective(HARSH, trial)
    assert gentle > harsh + 0.02
    again = pickle.loads(pickle.dumps(objective)) if _picklable(objective) else objective
    monkeypatch.setattr("monai.engines.trainer.SupervisedTrainer.run", lambda self: pytest.fail("it trains again"))
    fresh = DensityMatching(network, squares(16), squares(8, 1), tmp_path, draws=2, **{**SETTINGS, "epochs": 8})
    assert fresh(GENTLE, trial) == gentle
    assert again(GENTLE, trial) == gentle
    assert objective.epochs is None
    assert len([*tmp_path.iterdir()]) == 1
    monkeypatch.undo()
    other = DensityMatching(network, squares(16), squares(8, 1), tmp_path, draws=2, **{**SETTINGS, "epochs": 1})
    assert other(GENTLE, trial) != gentle, "a network of another training was taken"
    assert len([*tmp_path.iterdir()]) == 2


def test_a_policy_under_which_training_diverges_ends_its_trial_alone():
    objective = PolicyTraining(network, squares(4), squares(4, 1), **{**SETTINGS, "loss": lambda p, t: p.sum() / 0})
    with pytest.raises(PolicyPruned):
        objective(GENTLE, PolicyTrial(0, 0))


def _picklable(value) -> bool:
    try:
        pickle.dumps(value)
    except (AttributeError, pickle.PicklingError, TypeError):
        return False
    return True


def test_a_search_by_density_matching_from_end_to_end(tmp_path):
    pytest.importorskip("optuna")
    objective = DensityMatching(network, squares(16), squares(8, 1), tmp_path / "net", **{**SETTINGS, "epochs": 5})
    space = PolicySpace("xray", ("gamma", "blur", "translate"), sub_policies=2, steps=1)
    limit = PreservationConstraint(squares(4), draws=6, most=0.5)
    found = search_policy(objective, space, tmp_path / "study", trials=3, constraint=limit, progress=False)
    assert len([t for t in found["trials"] if t["state"] in ("complete", "pruned")]) == 3
    other = DensityMatching(network, squares(16, 9), squares(8, 1), tmp_path / "net", **{**SETTINGS, "epochs": 5})
    with pytest.raises(ValueError, match="another objective"):
        search_policy(other, space, tmp_path / "study", trials=5, progress=False)


def test_the_constraint_counts_what_the_guard_would_stop():
    """A square at the edge leaves the image when it is moved; one in the middle doesn't."""
    label = torch.zeros(1, 40, 40)
    label[:, 0:7, 14:26] = 1
    edge = [{"image": MetaTensor(100 * label + 5), "label": MetaTensor(label)}]
    middle = [{key: torch.roll(value.as_tensor(), 16, 1) for key, value in edge[0].items()}]
    shove = AugmentationPolicy("xray", [[["translate", 1, 1]]])
    lesion = {"mask_key": None, "lesion_key": "label", "draws": 24}
    found = [PreservationConstraint(items, most=0.0, **lesion)(shove)["violations"] for items in (edge, middle)]
    assert found[0] > found[1] + 0.2
    assert PreservationConstraint(edge, most=0.25, **lesion)(shove)["violations"] == pytest.approx(found[0] - 0.25)
    for arguments, said in (({"samples": []}, "samples must"), ({"samples": edge, "mask_key": None}, "mask_key or")):
        with pytest.raises(ValueError, match=said):
            PreservationConstraint(**arguments)


def test_a_judgement_says_plainly_what_a_search_was_worth(tmp_path):
    sets = {"in domain": squares(8, 1), "shifted": squares(8, 2)}
    once = {**SETTINGS, "seeds": 2, "epochs": 1, "progress": False}
    judged = judge_policies([GENTLE], network, squares(8), sets, tmp_path, schemes=["monai_mednist"], **once)
    assert judged["policies"] == ["policy 1"]
    for baseline in ("none", "trivial"):
        assert list(judged["against"][baseline]["strategies"]) == ["none", "trivial", "monai_mednist", "policy 1"]
    said = judged.sentences()
    assert len(said) == 4
    assert all("policy 1" in sentence and "in dice" in sentence for sentence in said)
    assert any("TrivialAugment" in sentence for sentence in said)
    assert said[0] in str(judged)
    for policies, error, what in (
        ([], ValueError, "of one modality"),
        ([GENTLE, AugmentationPolicy("ct", [[["gamma", 1, 1]]])], ValueError, "of one modality"),
        (["none"], TypeError, "must be AugmentationPolicy objects"),
        ({"none": GENTLE}, ValueError, "names of their own"),
    ):
        with pytest.raises(error, match=what):
            judge_policies(policies, network, squares(8), sets, tmp_path, schemes=["none"], **SETTINGS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 0}, "epochs must be"),
        ({"task": "regression"}, "task must be"),
        ({"training": []}, "training must be"),
    ],
)
def test_errors_of_objectives(change, said):
    arguments = {"training": squares(2), "validation": squares(2), **SETTINGS, **change}
    with pytest.raises(ValueError, match=said):
        PolicyTraining(network, **arguments)

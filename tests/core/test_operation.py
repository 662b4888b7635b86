"""Instances and what they recognise as their own."""

import copy

import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from monai_medaug.core.operation import Operation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.transforms import HUWindow, HUWindowd, RandHUContrast, RandHUContrastd, augmentation_report, replay


class Roll(Operation):
    """Shift by whole voxels, a deterministic geometric operation."""

    geometric = True

    def __init__(self, by: int = 1, mode: str = "bilinear") -> None:
        super().__init__()
        self.by, self.mode = by, mode

    def settings(self):
        return {"by": self.by}

    @classmethod
    def apply(cls, image, call):
        return image.roll(-call.settings["by"] if call.inverse else call.settings["by"], -1)


Rolld = dictionary_twin(Roll)


def ramp() -> MetaTensor:
    return MetaTensor(torch.arange(64.0).reshape(1, 8, 8) - 10)


def names(image) -> list[str]:
    return [record["class"] for record in image.applied_operations]


def test_equal_deterministic_instances_know_each_others_records():
    assert Roll().uid == Roll().uid != Roll(2).uid
    assert Rolld("a").operation.uid == Rolld("a").operation.uid
    assert len({Roll().uid, Rolld("a").operation.uid, Rolld("b").operation.uid, Rolld(("a", "b")).operation.uid}) == 4
    assert RandHUContrast().uid != RandHUContrast().uid
    out = Roll()(ramp())
    assert torch.equal(Roll().inverse(out).as_tensor(), ramp().as_tensor())


def test_equal_instances_in_one_chain_are_undone_one_by_one():
    steps = [Rolld("image"), RandHUContrastd("image", prob=1.0), Rolld("image"), Rolld("image", 3)]
    out = Compose(steps)({"image": ramp()})
    assert names(out["image"]) == ["Rolld", "RandHUContrastd", "Rolld", "Rolld"]
    assert [s["name"] for s in augmentation_report(out)["steps"]] == names(out["image"])
    for left in (3, 2, 1, 0):
        out = steps[left].inverse(copy.deepcopy(out))
        assert len(out["image"].applied_operations) == left
    plain = RandHUContrastd("image", prob=1.0)
    shifted = Compose([steps[0], steps[2], steps[3]])({"image": ramp()})
    back = Compose([steps[0], steps[2], steps[3]]).inverse(shifted)
    assert torch.equal(back["image"].as_tensor(), ramp().as_tensor())
    assert plain.inverse(back)["image"].applied_operations == []


def test_equal_settings_on_other_keys_are_other_steps():
    """They would else be one step of the report, and a replay would change their places in the chain."""
    contrast = RandHUContrastd(["a", "b"], factor=1.5, pivot_hu=0, prob=1.0)
    window = {"center": 40, "width": 50, "out_range": (-100, 100)}
    chain = Compose([HUWindowd("a", **window), contrast, HUWindowd("b", **window)])
    data = {"a": ramp(), "b": ramp()}
    out = chain(data)
    report = augmentation_report(out)
    assert [(s["name"], [*s["keys"]]) for s in report["steps"]] == [
        ("HUWindowd", ["a"]),
        ("RandHUContrastd", ["a", "b"]),
        ("HUWindowd", ["b"]),
    ]
    again = replay(data, report)
    for key in data:
        assert torch.equal(again[key].as_tensor(), out[key].as_tensor())


def test_a_window_of_another_instance_reads_the_same_in_the_report():
    window = {"center": 40, "width": 50, "out_range": (-100, 100)}
    twice = Compose([HUWindowd(["a", "b"], **window), HUWindowd(["a", "b"], **window)])({"a": ramp(), "b": ramp()})
    assert [[*s["keys"]] for s in augmentation_report(twice)["steps"]] == [["a", "b"], ["a", "b"]]
    out = HUWindow(**window).inverse(HUWindow(**window)(ramp()))
    assert out.applied_operations == []

"""Predictions that are inverted by the record of an image."""

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, ScaleIntensityRanged

from monai_medaug.transforms import RandAffineElasticd

MOVE = {"prob": 1.0, "padding_mode": -1000, "rotate_degrees": (20, 25), "translate_fraction": (0.1, 0.15)}


def image() -> MetaTensor:
    x = torch.linspace(-1000, 1200, 40 * 36).reshape(1, 40, 36)
    return MetaTensor(x)


def inverted(prediction: torch.Tensor, nearest: bool, chain: Compose, data: dict) -> torch.Tensor:
    out = chain(data)
    back = Invertd("pred", chain, "image", nearest_interp=nearest, to_tensor=True)
    return back({**out, "pred": MetaTensor(prediction)})["pred"].as_tensor()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32])
def test_labels_get_0_from_outside(dtype):
    chain = Compose([RandAffineElasticd("image", **MOVE).set_random_state(1)])
    label = inverted(torch.full((1, 40, 36), 7).to(dtype), True, chain, {"image": image()})
    assert sorted(label.unique().tolist()) == [0, 7]
    assert label.dtype == dtype


@pytest.mark.parametrize("prediction", [torch.ones(1, 40, 36), torch.rand(3, 40, 36), torch.rand(2, 40, 36) * 12 - 6])
def test_probabilities_and_logits_get_0(prediction):
    chain = Compose([RandAffineElasticd("image", **MOVE).set_random_state(1)])
    out = inverted(prediction, False, chain, {"image": image()})
    assert float(out.min()) >= min(0, float(prediction.min()) - 1e-4)
    assert float(out.max()) <= float(prediction.max()) + 1e-4
    assert bool((out == 0).any())


def test_the_image_itself_gets_its_padding():
    deform = RandAffineElasticd("image", **MOVE).set_random_state(1)
    back = deform.inverse(deform({"image": image()}))["image"].as_tensor()
    assert float((back == -1000).float().mean()) > 0.01
    assert float(back[back > -999].min()) >= -1000


def test_a_scaled_image_gets_0():
    chain = Compose(
        [RandAffineElasticd("image", **MOVE).set_random_state(1), ScaleIntensityRanged("image", -1000, 1200, 0, 1)]
    )
    back = chain.inverse(chain({"image": image()}))["image"].as_tensor()
    assert float(back.min()) >= -1e-4


def test_an_old_record_is_inverted_as_before():
    deform = RandAffineElasticd("image", **MOVE).set_random_state(1)
    out = deform({"image": image()})
    del out["image"].applied_operations[0]["extra_info"]["looks"]
    assert float(deform.inverse(out)["image"].min()) == -1000


@pytest.mark.parametrize(
    ("values", "padding", "prediction"),
    [
        (lambda x: x * 2 - 1, -1, lambda x: x),  # probabilities of an image in [-1, 1]
        (lambda x: x, 1, lambda x: x / 2),
        (lambda x: x * 6 - 3, -3, lambda x: 10 + 5 * x),  # logits of a z-scored image
    ],
)
def test_predictions_in_the_range_of_the_image_get_0_too(values, padding, prediction):
    image, pred = values(torch.rand(1, 40, 36)), prediction(torch.rand(1, 40, 36))
    chain = Compose([RandAffineElasticd("image", **{**MOVE, "padding_mode": padding}).set_random_state(1)])
    out = inverted(pred, False, chain, {"image": MetaTensor(image)})
    assert bool((out == 0).any())
    assert float(out.min()) >= min(0.0, float(pred.min())) - 1e-5
    assert float(out.max()) <= float(pred.max()) + 1e-5


def test_an_image_with_noise_gets_its_padding():
    deform = RandAffineElasticd("image", **MOVE).set_random_state(1)
    out = deform({"image": image()})
    out["image"] = out["image"] * 1.05 + 30 * torch.randn(1, 40, 36)
    assert float((deform.inverse(out)["image"] == -1000).float().mean()) > 0.01


@pytest.mark.parametrize("padding", ["darkest", "brightest"])
def test_predictions_do_not_get_their_own_brightest(padding):
    chain = Compose([RandAffineElasticd("image", **{**MOVE, "padding_mode": padding}).set_random_state(1)])
    for prediction, nearest in ((torch.full((1, 40, 36), 7, dtype=torch.uint8), True), (torch.ones(1, 40, 36), False)):
        out = inverted(prediction, nearest, chain, {"image": image()})
        assert float(out.min()) == 0

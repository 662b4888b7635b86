"""A CT that is not in HU is refused in every call, whoever makes it and whether or not it is drawn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Compose, OneOf

from monai_medaug.core.tensors import Notice
from monai_medaug.transforms import (
    Batched,
    HUWindow,
    MedianDenoise,
    PreservingCompose,
    RandAffineElasticd,
    RandCTBeamHardening,
    RandCTDose,
    RandCTDosed,
    RandCTMetal,
    RandCTMotion,
    RandCTRing,
    RandHUContrast,
    RandHUContrastd,
    RandHUWindow,
    WaveletDenoise,
    augmentation_report,
    ct_augmentation,
    replay,
)

NEVER = [kind(prob=0.0) for kind in (RandCTBeamHardening, RandCTDose, RandCTMetal, RandCTMotion, RandCTRing)]
NEVER += [RandHUContrast(prob=0.0), RandHUWindow(prob=0.0), HUWindow(preset="lung")]
REFUSAL = "must be in Hounsfield units, got"


def body(shape: tuple[int, ...] = (48, 44), seed: int = 0) -> np.ndarray:
    """Soft tissue with bone in air, with noise, (1, *shape), in HU."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    r = np.sqrt(sum(a**2 for a in axes))
    hu = np.where(r < 0.8, 40.0, -1000.0) + 700 * (r < 0.2)
    return (hu + np.random.RandomState(seed).normal(0, 12, shape))[None].astype(np.float32)


def z_scored(hu: np.ndarray) -> np.ndarray:
    return (hu - hu.mean()) / hu.std()


WRONG = {
    "z-scored": z_scored,
    "z-scored with metal": lambda hu: np.where(np.arange(hu.size).reshape(hu.shape) == 700, 60, z_scored(hu)),
    "0 to 1": lambda hu: (hu - hu.min()) / np.ptp(hu),
    "-1 to 1, overshot": lambda hu: 1.1 * (2 * (hu - hu.min()) / np.ptp(hu) - 1),
    "HU / 1000": lambda hu: hu / 1000,
    "stored values": lambda hu: hu + 32768,
    "8 bit": lambda hu: np.round(255 * (hu - hu.min()) / np.ptp(hu)),
}


@pytest.mark.parametrize("transform", NEVER, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_units_are_refused_where_a_call_is_skipped(transform, wrong):
    with pytest.raises(ValueError, match=f"img {REFUSAL}"):
        transform(WRONG[wrong](body()).astype(np.float32))


@pytest.mark.parametrize(("dtype", "wrong"), [(np.uint8, "8 bit"), (np.uint16, "stored values")])
def test_wrong_units_are_refused_in_stored_types(dtype, wrong):
    with pytest.raises(ValueError, match=REFUSAL):
        RandCTDose(prob=0.0)(WRONG[wrong](body()).astype(dtype))


def test_each_channel_and_each_sample_of_a_batch_is_judged():
    hu, scaled = torch.from_numpy(body()), torch.from_numpy(z_scored(body()))
    with pytest.raises(ValueError, match=f"img {REFUSAL}"):
        RandCTDose(prob=0.0)(torch.cat([hu, scaled]))
    for prob in (0.0, 0.5, 1.0):
        with pytest.raises(ValueError, match=f"batch {REFUSAL}"):
            Batched(RandCTDose(prob=prob).set_random_state(1))(torch.stack([hu, hu, scaled, hu]))
    out = Batched(RandCTDose(prob=0.0))(torch.stack([hu, hu]))
    assert torch.equal(out, torch.stack([hu, hu]))


def test_only_samples_that_take_part_are_judged():
    hu, scaled = MetaTensor(body()), MetaTensor(z_scored(body()))
    batch = list_data_collate([{"image": hu}, {"image": hu}, {"image": scaled}])
    outcomes = set()
    for seed in range(8):
        choice = OneOf([RandCTDosed("image", prob=0.0), RandAffineElasticd("image", prob=0.0)]).set_random_state(seed)
        random = np.random.RandomState()
        random.set_state(choice.R.get_state())
        drawn = [int(random.multinomial(1, choice.weights).argmax()) for _ in range(3)]
        if drawn[2] == 0:
            with pytest.raises(ValueError, match=REFUSAL):
                Batched(choice)(batch)
        else:
            Batched(choice)(batch)
        outcomes.add((drawn[2], drawn[0]))
    assert {(1, 0), (0, 0)} <= outcomes


def test_containers_refuse_what_they_skip():
    data = {"scan": MetaTensor(z_scored(body()))}
    chain = Compose([RandHUContrastd("scan", prob=0.0)])
    for transform in (RandHUContrastd("scan", prob=0.0), Batched(RandHUContrastd("scan", prob=0.0))):
        inputs = data if isinstance(transform, RandHUContrastd) else list_data_collate([data, data])
        with pytest.raises(ValueError, match=f"'scan' {REFUSAL}"):
            transform(inputs)
    for transform in (chain, PreservingCompose(chain.transforms, None)):
        with pytest.raises(RuntimeError) as error:  # MONAI's, with ours as its cause
            transform(data)
        assert f"'scan' {REFUSAL}" in str(error.value.__cause__)


def test_a_replay_on_other_units_is_refused():
    hu = MetaTensor(body())
    report = augmentation_report(RandCTDose(prob=1.0)(hu))
    with pytest.raises(ValueError, match=REFUSAL):
        replay(MetaTensor(z_scored(body())), report)


def test_presets_judge_all_images_and_say_how_to_state_a_window():
    wrong = {"a": MetaTensor(body()), "b": MetaTensor(z_scored(body()))}
    for masks in ((), "mask"):
        preset = ct_augmentation(("a", "b"), masks, prob=0.0)
        data = {**wrong, "mask": MetaTensor(body() > 0)}
        with pytest.raises(ValueError, match=rf"'b' {REFUSAL}.*window=\(low, high\)"):
            preset(data)
    with pytest.raises(ValueError, match=f"'b' {REFUSAL}"):
        Batched(ct_augmentation(("a", "b"), prob=0.0))(list_data_collate([wrong, wrong]))
    report = augmentation_report(ct_augmentation("a", prob=1.0)({"a": wrong["a"]}))
    with pytest.raises(ValueError, match=f"'a' {REFUSAL}"):
        replay({"a": wrong["b"]}, report, transform=ct_augmentation("a", prob=1.0))


def test_a_preset_judges_the_image_it_gets_and_not_what_its_steps_make_of_it():
    """An air crop with a speck of 3 HU and whole numbers passes; once moved, the numbers are not whole any more."""
    hu = np.zeros((1, 32, 32), np.float32)
    hu[:, ::2, 9] = 9
    hu[:, 5:25, 5:25] += np.arange(20) % 3
    with pytest.raises(ValueError, match=REFUSAL):
        RandHUContrast(prob=1.0)(hu + 0.3)
    for seed in range(4):
        ct_augmentation("image", prob=1.0).set_random_state(seed)({"image": MetaTensor(hu)})


@pytest.mark.parametrize("wrong", WRONG)
def test_denoisers_of_ct_noise_refuse_wrong_units(wrong):
    image = WRONG[wrong](body()).astype(np.float32)
    for sigma in (None, 10.0):
        with pytest.raises(ValueError, match=f"img {REFUSAL}"):
            WaveletDenoise(noise="ct", sigma=sigma)(image)
    with pytest.raises(ValueError, match=f"image {REFUSAL}"):
        WaveletDenoise(noise="ct").measured(torch.from_numpy(image))
    MedianDenoise(noise="ct")(image)  # needs no noise level: any unit will do
    WaveletDenoise(sigma=0.1)(image)


def test_no_air_and_a_high_maximum_gets_one_notice(monkeypatch):
    monkeypatch.setattr("monai_medaug.core.tensors._said", set())
    image = np.maximum(body() + 1024, 0)
    with pytest.warns(Notice, match="no value below 0 HU.*rescale intercept"):
        RandCTDose(prob=0.0)(image)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RandCTDose(prob=0.0)(image)


GENUINE = {
    "body": body(),
    "liver": 60 + 12 * np.random.RandomState(1).normal(size=(1, 32, 32)),
    "smooth liver": 60 + 0.5 * np.random.RandomState(1).normal(size=(1, 32, 32)),
    "air": -1000 + 5 * np.random.RandomState(1).normal(size=(1, 32, 32)),
    "brain window": np.clip(body(), 0, 80),
    "abdominal window": np.clip(body(), -57, 164),
    "fat at the window's end": np.maximum(-70 + 8 * np.random.RandomState(1).normal(size=(1, 32, 32)), -57),
    "a speck above the window's end": np.pad(np.full((1, 3, 3), 7.3), ((0, 0), (20, 9), (11, 18))),
    "whole numbers near water": np.round(2 * np.random.RandomState(1).normal(size=(1, 32, 32))),
    "padding": np.where(np.arange(44) < 20, -3024, body()),
    "constant": np.full((1, 8, 8), 0.4),
}


@pytest.mark.parametrize("name", GENUINE)
def test_hu_pass_without_a_notice(name, monkeypatch):
    monkeypatch.setattr("monai_medaug.core.tensors._said", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RandCTDose(prob=0.0)(GENUINE[name].astype(np.float32))


def test_nan_in_a_drawn_call_is_still_what_the_error_says():
    image = body()
    image[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="img must be finite"):
        RandCTDose(prob=1.0)(image)

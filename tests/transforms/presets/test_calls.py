"""Presets as MONAI's transforms are called: bare images in array chains, missing keys, lesions of several channels."""

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, OneOf

from monai_medaug.transforms import (
    Batched,
    PreservingCompose,
    RandAffineElasticd,
    augmentation_report,
    ct_augmentation,
    mri_augmentation,
    replay,
    xray_augmentation,
)
from tests.transforms.presets.test_base import MODALITIES, SHAPES, sample

PRESETS = pytest.mark.parametrize("modality", MODALITIES)


@PRESETS
def test_a_bare_image_is_the_only_key(modality):
    preset = MODALITIES[modality][0]
    for shape in SHAPES:
        image = sample(modality, shape)["image"]
        wanted = preset(prob=1.0).set_random_state(4)({"image": image})["image"]
        augment = preset(prob=1.0).set_random_state(4)
        out = augment(image)
        assert type(out) is MetaTensor
        assert torch.equal(out.as_tensor(), wanted.as_tensor())
        report = augmentation_report(out)
        assert report == augmentation_report({"image": wanted})
        assert torch.equal(replay(image, report, augment).as_tensor(), out.as_tensor())
        back = augment.inverse(out)
        assert back.applied_operations == []
        assert torch.equal(back.as_tensor(), augment.inverse({"image": out})["image"].as_tensor())
        named = preset("scan", prob=1.0).set_random_state(4)
        assert torch.equal(named(image).as_tensor(), wanted.as_tensor())
        for kind in (image.as_tensor(), image.numpy()):
            bare = preset(prob=1.0).set_random_state(4)(kind)
            assert type(bare) is type(kind)
            assert bare.shape == kind.shape
        assert [type(o) for o in augment([image, image])] == [MetaTensor] * 2


@PRESETS
def test_a_batch_of_bare_images(modality):
    images = [sample(modality, SHAPES[0])["image"] + i for i in range(3)]
    preset = MODALITIES[modality][0](prob=0.7)
    preset.set_random_state(2)
    wanted = [preset(image) for image in images]
    batch = next(iter(DataLoader(Dataset(images), batch_size=3)))
    out = Batched(preset).set_random_state(2)(batch)
    for one, other in zip(decollate_batch(out), wanted, strict=True):
        torch.testing.assert_close(one.as_tensor(), other.as_tensor(), rtol=1e-5, atol=1e-3)
        assert augmentation_report(one)["seed"] == augmentation_report(other)["seed"]
        assert preset.inverse(one).applied_operations == []


def test_an_array_chain_from_a_file(tmp_path):
    import nibabel as nib

    volume = sample("ct", SHAPES[1])["image"]
    nib.save(nib.Nifti1Image(volume[0].numpy(), volume.affine.numpy()), tmp_path / "scan.nii.gz")
    chain = Compose([LoadImage(image_only=True), EnsureChannelFirst(), ct_augmentation(prob=1.0)]).set_random_state(1)
    dataset = CacheDataset([tmp_path / "scan.nii.gz"] * 2, chain, progress=False)
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    first, other = decollate_batch(batch)
    assert first.shape == volume.shape
    assert not torch.equal(first.as_tensor(), other.as_tensor())
    assert chain.transforms[2].inverse(first).shape == volume.shape
    either = OneOf([ct_augmentation(prob=1.0), ct_augmentation(strength="strong")]).set_random_state(0)
    assert either.inverse(either(volume)).applied_operations == []


@PRESETS
def test_a_bare_image_where_it_cannot_be(modality):
    preset, image = MODALITIES[modality][0], sample(modality, SHAPES[0])["image"]
    for augment in (preset(["a", "b"]), preset("a", "label"), preset("a", lesion_key="lesion")):
        for call, data in ((augment, image), (augment.inverse, image), (Batched(augment), image[None])):
            with pytest.raises(TypeError, match=r"data must be a dictionary with the keys 'a', .*one key and no masks"):
                call(data)
    with pytest.raises(TypeError, match="data must be a dictionary with the sample's id under 'id', got MetaTensor"):
        preset(sample_key="id")(image)
    with pytest.raises(TypeError, match="'image' must be a numpy array or a torch tensor, got str"):
        preset(prob=1.0)("image.nii")
    with pytest.raises(TypeError, match="data must be a dictionary, got MetaTensor"):
        PreservingCompose([preset()], None)(image)
    if modality != "mri":
        with pytest.raises(
            ValueError, match="'image' must be a MetaTensor to be inverted, got ndarray: it has no trace"
        ):
            preset(prob=1.0).inverse(image.numpy())
        with pytest.raises(ValueError, match="bare arrays carry no trace"):
            augmentation_report(preset(prob=1.0)(image.numpy()))


@PRESETS
@pytest.mark.parametrize("masks", [(), ("label",)])
def test_missing_keys(modality, masks):
    preset, data = MODALITIES[modality][0], sample(modality, SHAPES[0])
    strict = preset(["image", "other"], masks, prob=1.0)
    with pytest.raises((KeyError, RuntimeError)) as error:  # which MONAI's Compose makes of it
        strict(data)
    assert "'other' is missing" in str(error.getrepr())
    lenient = preset(["image", "other"], masks, prob=1.0, allow_missing_keys=True).set_random_state(1)
    assert (strict.allow_missing_keys, lenient.allow_missing_keys) == (False, True)
    out = lenient(data)
    assert set(out) == set(data)
    assert not torch.equal(out["image"].as_tensor(), data["image"].as_tensor())
    assert augmentation_report(lenient({"image": data["image"]}))["anatomy_preserved"] == "not checked"
    assert lenient({"id": 3}) == {"id": 3}
    back = lenient.inverse({"image": out["image"]})
    assert back["image"].applied_operations == []


def test_defaults_of_all_presets_are_alike():
    for preset in (ct_augmentation, mri_augmentation, xray_augmentation):
        assert preset().keys == ("image",)
        assert preset().allow_missing_keys is False


@pytest.mark.parametrize("kind", ["meta", "numpy"])
@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
def test_a_lesion_of_several_channels_is_judged_as_their_union(shape, kind):
    """As BraTS has it: tumour core, whole tumour, enhancing tumour; the core alone breaks into no parts."""
    data = sample("mri", shape)
    lesion = data["lesion"].as_tensor()
    parts = torch.cat([torch.roll(lesion, s, 1) * lesion for s in (1, 0, -2)])
    one, many = ({**data, "lesion": m} for m in (lesion, parts))
    verdicts = []
    for item in (one, many):
        label = MetaTensor(item["lesion"], affine=data["image"].affine)
        item["lesion"] = label if kind == "meta" else label.numpy()
        augment = mri_augmentation("image", "label", "lesion", prob=1.0).set_random_state(5)
        out = augment(item)
        assert out["lesion"].shape == item["lesion"].shape
        assert type(out["lesion"]) is (MetaTensor if kind == "meta" else np.ndarray)
        report = augmentation_report(out)
        assert report["pathology_preserved"] == "yes"
        verdicts.append({k: v for k, v in report["checks"].items() if "lesion" in k})
    assert verdicts[0] == verdicts[1]
    assert verdicts[0]["lesion share kept"] > 0.9
    gone = RandAffineElasticd(["image", "lesion"], prob=1.0, mode=[1, 0], padding_mode="zeros", translate_fraction=0.9)
    guard = PreservingCompose([gone], None, "lesion", on_violation="reject").set_random_state(1)
    many["lesion"] = MetaTensor(parts)
    assert augmentation_report(guard({k: many[k] for k in ("image", "lesion")}))["pathology_preserved"] == "no"

"""The class: its masks, records, slices that stay, crops, and input that is none."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.transforms import (
    Batched,
    CTMetalArtifactReduction,
    CTMetalArtifactReductiond,
    RandCTMetal,
    augmentation_report,
    inserted_metal,
)
from tests.notices import unsaid

N = 96
Y, X = torch.meshgrid(torch.arange(N) - 47.5, torch.arange(N) - 47.5, indexing="ij")
BODY = torch.where((X / 44) ** 2 + (Y / 36) ** 2 < 1, 40.0, -1000.0)
BODY[60:70, 40:56] = 700.0
AFFINE = torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0])).double()


def volume(slices=4) -> MetaTensor:
    """The body with a steel rod through the middle slices, and unclipped metal."""
    image = MetaTensor(BODY[None, ..., None].repeat(1, 1, 1, slices), affine=AFFINE)
    insert = RandCTMetal("steel", radius_mm=5, rods=1, length_mm=(slices - 2) * 4, prob=1.0, implant="rods")
    out = insert.set_random_state(1)(image)
    return torch.where(inserted_metal(out) > 0, 15000.0, out)


def figures(image: MetaTensor) -> dict:
    return augmentation_report(image)["steps"][-1]["figures"]


def error(image: torch.Tensor, metal: torch.Tensor) -> float:
    difference = (image.as_tensor() - BODY[None, ..., None]) * ~metal
    return float(difference.square().mean().sqrt())


def test_metal_is_found_streaks_go_and_the_metal_and_other_slices_stay():
    image = volume(6)
    metal = image.as_tensor() > 10000
    out = CTMetalArtifactReduction()(image)
    bright = image.as_tensor() > 2000
    assert error(out, bright) < 0.5 * error(image, bright)
    assert torch.equal(out.as_tensor()[metal], image.as_tensor()[metal])
    without = ~metal.flatten(0, 2).any(0)
    assert without.any()
    assert torch.equal(out.as_tensor()[..., without], image.as_tensor()[..., without])
    found = figures(out)
    assert found["metal_from"] == "threshold"
    assert found["metal_pieces"] >= 1
    assert 0.02 < found["rays_interpolated"] < 0.3
    assert 0 < found["correction_weight"] <= 1


def test_a_mask_by_key_stands_for_the_search_and_counts_in_any_type():
    image = volume()
    metal = image.as_tensor() > 10000
    data = {"image": image, "rod": MetaTensor(metal.to(torch.uint8), affine=AFFINE)}
    out = CTMetalArtifactReductiond("image", metal_mask_key="rod")(data)
    array = CTMetalArtifactReduction()(image, metal_mask=metal.numpy())
    assert torch.equal(out["image"].as_tensor(), array.as_tensor())
    assert figures(out["image"]) == figures(array)
    assert figures(array)["metal_from"] == "mask"
    assert figures(array)["metal_voxels"] == int(metal.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int16])
def test_without_metal_nothing_changes(dtype):
    image = BODY[None].to(dtype)
    for given in ({}, {"metal_mask": torch.zeros(1, N, N)}):
        out = CTMetalArtifactReduction()(image, **given)
        assert torch.equal(out, image.float() if dtype == torch.int16 else image)


def test_dense_contrast_and_enamel_stay():
    image = BODY.clone()
    image[30:36, 40:46], image[30:36, 60:64] = 2500.0, 2900.0
    assert torch.equal(CTMetalArtifactReduction()(image[None]), image[None])


def test_a_clipped_image_is_corrected_and_a_notice_says_what_was_assumed():
    image = volume().clamp_max(3071)
    unsaid()
    with pytest.warns(UserWarning, match="are clipped"):
        out = CTMetalArtifactReduction()(image)
    assert figures(out)["clipped"] is True
    metal = image.as_tensor() > 2000
    assert error(out, metal) < 0.6 * error(image, metal)


def test_channels_and_samples_have_metal_of_their_own():
    image = volume()
    other = MetaTensor(BODY[None, ..., None].repeat(1, 1, 1, 4), affine=AFFINE)
    both = torch.stack([image.as_tensor(), other.as_tensor()])
    out = Batched(CTMetalArtifactReduction())(both)
    assert torch.equal(out[1], both[1])
    single = CTMetalArtifactReduction()(image.as_tensor())
    assert (out[0] - single).abs().max() < 0.05
    channels = CTMetalArtifactReduction()(torch.cat([image.as_tensor(), other.as_tensor()]))
    assert (channels[:1] - single).abs().max() < 0.05
    assert torch.equal(channels[1:], other.as_tensor())


def test_slices_lie_across_the_worlds_third_axis():
    image = volume()
    turned = MetaTensor(image.as_tensor().movedim(3, 1), affine=AFFINE[:, [2, 0, 1, 3]])
    out = CTMetalArtifactReduction()(turned)
    assert (out.as_tensor().movedim(1, 3) - CTMetalArtifactReduction()(image).as_tensor()).abs().max() < 0.05


@pytest.mark.parametrize(
    "place", [(slice(None), slice(None)), (slice(0, 6), slice(40, 50)), (slice(40, 41), slice(0, 2))]
)
def test_metal_everywhere_or_at_the_border(place):
    image = torch.full((1, N, N), 40.0)
    mask = torch.zeros(1, N, N)
    mask[0][place] = 1
    unsaid()
    with pytest.warns(UserWarning, match="touches the border"):
        out = CTMetalArtifactReduction()(image, metal_mask=mask)
    assert torch.isfinite(out).all()
    assert (out - image)[mask > 0].abs().max() == 0
    assert (out - image).abs().max() < 15  # water stays water


def test_a_crop_through_the_body_is_continued():
    whole = volume()
    metal = whole.as_tensor() > 10000
    middle = [round(float(i.float().mean())) for i in torch.nonzero(metal, as_tuple=True)[1:3]]
    rows, columns = (slice(max(0, m - 24), max(0, m - 24) + 48) for m in middle)
    cut = MetaTensor(whole.as_tensor()[:, rows, columns], affine=AFFINE)
    unsaid()
    with pytest.warns(UserWarning, match="touches the border"):
        out = CTMetalArtifactReduction(body_mm=170)(cut)
    inside = cut.as_tensor() < 2000
    truth = BODY[None, ..., None][:, rows, columns]
    before, after = (((x.as_tensor() - truth) * inside).square().mean().sqrt() for x in (cut, out))
    assert after < 0.7 * before


def test_bad_input_is_named():
    image = BODY[None]
    with pytest.raises(ValueError, match="metal_mask"):
        CTMetalArtifactReduction()(image, metal_mask=torch.zeros(1, 5, 5))
    with pytest.raises(ValueError, match="Hounsfield"):
        CTMetalArtifactReduction()((image + 1000) / 2000)
    with pytest.raises(ValueError, match="img"):
        CTMetalArtifactReduction()(torch.where(image > 0, torch.nan, image))
    for arguments, name in (
        ({"method": "fbp"}, "method"),
        ({"threshold_hu": 0}, "threshold_hu"),
        ({"body_mm": 0}, "body_mm"),
    ):
        with pytest.raises(ValueError, match=name):
            CTMetalArtifactReduction(**arguments)


def test_arrays_come_back_as_arrays():
    out = CTMetalArtifactReduction()(volume().numpy().astype(np.int16))
    assert isinstance(out, np.ndarray)
    assert out.dtype == np.float32

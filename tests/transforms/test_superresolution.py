"""Upscale as users run it: place in the world, masks, padding, inverse, files."""

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, SaveImaged
from scipy import ndimage

from monai_medaug.transforms import Upscale, Upscaled

AFFINE = torch.tensor([[0, 2, 0, -30], [1.5, 0, 0, 10], [0, 0, 5, 5], [0, 0, 0, 1]], dtype=torch.float64)


def blob(shape=(20, 24, 10)) -> MetaTensor:
    axes = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    distance = sum(((a - c) * s) ** 2 for a, c, s in zip(axes, (7, 13, 4), (1.5, 2, 5), strict=True))
    return MetaTensor(torch.from_numpy(100 * np.exp(-distance / 200)).float()[None], affine=AFFINE.clone())


def centre(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.array(ndimage.center_of_mass(values)) + affine[:3, 3]


@pytest.mark.parametrize("scale", [2, 1.5, (1, 1, 5), (3, 1, 2)])
def test_a_structure_stays_in_place_in_the_world_and_in_the_file(scale, tmp_path):
    image = blob()
    out = Upscale(scale=scale, method="backprojection")(image)
    save = SaveImaged(
        "image", output_dir=tmp_path, output_postfix="", output_ext=".nii.gz", separate_folder=False, print_log=False
    )
    out.meta["filename_or_obj"] = "case.nii.gz"
    save({"image": out})
    written = nibabel.load(tmp_path / "case.nii.gz")
    places = [
        centre(image[0].numpy(), image.affine.numpy()),
        centre(out[0].numpy(), out.affine.numpy()),
        centre(written.get_fdata(), written.affine),
    ]
    assert np.abs(np.diff(places, axis=0)).max() < 0.02  # mm
    assert written.shape == tuple(out.shape[1:])
    for corner in ((0, 0, 0), (1, 1, 1), (1, 0, 1)):  # the outer corners of the field
        ends = [
            np.array(x.affine) @ [*(c * n - 0.5 for c, n in zip(corner, x.shape[1:], strict=True)), 1]
            for x in (image, out)
        ]
        assert np.allclose(*ends, atol=1e-9)


def test_a_prediction_on_the_finer_grid_comes_back_to_the_image():
    data = {"image": blob(), "label": MetaTensor((blob() > 50).to(torch.uint8).as_tensor(), affine=AFFINE.clone())}
    steps = Compose([Upscaled(("image", "label"), scale=(2, 2, 4), mode=("bilinear", "nearest"))])
    out = steps(data)
    assert out["label"].dtype == torch.uint8
    assert out["label"].shape == out["image"].shape == (1, 40, 48, 40)
    out["pred"] = MetaTensor((out["image"].as_tensor() > 50).to(torch.uint8))
    back = Invertd("pred", steps, orig_keys="image", nearest_interp=True)(out)["pred"]
    assert back.shape == data["label"].shape
    assert torch.allclose(back.affine, AFFINE)
    overlap = (back.bool() & data["label"].bool()).sum() / (back.bool() | data["label"].bool()).sum()
    assert overlap > 0.8
    again = steps.inverse(out)
    assert torch.equal(again["label"], data["label"])
    assert float((again["image"] - data["image"]).abs().max()) < 2


@pytest.mark.parametrize("method", ["bicubic", "backprojection"])
def test_padding_of_a_ct_does_not_ring_into_tissue(method):
    image = torch.full((1, 40, 40), 40.0)
    image[:, :12] = -3024
    out = Upscale(scale=2, method=method)(image)
    assert set(out.unique().tolist()) == {-3024.0, 40.0}
    assert bool((out[:, :24] == -3024).all())


def test_wrong_arguments_are_named():
    for bad in (0.5, 65, "two", (1, 0), True):
        with pytest.raises((ValueError, TypeError), match="scale"):
            Upscale(scale=bad)
    with pytest.raises(ValueError, match="method must be one of"):
        Upscale(method="lanczos")
    with pytest.raises(ValueError, match="blur must be one of"):
        Upscale(blur="box")
    with pytest.raises(ValueError, match="scale must be a number or one for each of 2 axes"):
        Upscale(scale=(1, 1, 2))(torch.rand(1, 8, 8))


@pytest.mark.parametrize("name", ["linear", 1, "bilinear"])
def test_monais_names_of_modes_are_known(name):
    assert Upscale(mode=name).mode == "bilinear"

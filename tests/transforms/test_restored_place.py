"""Super-resolved images and predictions in the world: corners, files, the way back, on awkward grids and inputs."""

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch, list_data_collate, set_track_meta
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    Invertd,
    LoadImaged,
    Orientationd,
    SaveImaged,
)
from scipy import ndimage
from scipy.spatial.transform import Rotation

from monai_medaug.networks import EDSR, MultiScaleSR
from monai_medaug.transforms import Batched, NetworkRestored, Upscaled

SHAPE = (20, 24, 8)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("zx", (23, 17), degrees=True).as_matrix() @ np.diag([0.8, 1.1, 4.0])
OBLIQUE[:3, 3] = -40, 22, 7
CENTRE = OBLIQUE[:3, :3] @ (8, 13, 4) + OBLIQUE[:3, 3]
NET = MultiScaleSR(features=4, num_blocks=1)  # interpolates until it is trained


def enlarging(keys="image", by="network", scale=2.0, **more):
    """The two transforms that enlarge."""
    return NetworkRestored(keys, NET, scale=scale, **more) if by == "network" else Upscaled(keys, scale, **more)


def blob() -> MetaTensor:
    """A ball of 6 mm about `CENTRE`, on an oblique grid of thick slices."""
    index = np.indices(SHAPE).reshape(3, -1)
    world = OBLIQUE[:3, :3] @ index + OBLIQUE[:3, 3:]
    values = 100 * np.exp(-np.square(world - CENTRE[:, None]).sum(0) / 15)
    image = MetaTensor(torch.from_numpy(values.reshape(1, *SHAPE)).float(), affine=torch.from_numpy(OBLIQUE.copy()))
    image.meta["filename_or_obj"] = "case.nii.gz"
    return image


def centre(values, affine) -> np.ndarray:
    affine = np.asarray(affine)
    return affine[:3, :3] @ ndimage.center_of_mass(np.asarray(values).clip(0)) + affine[:3, 3]


def corners(shape, affine) -> np.ndarray:
    ends = np.array([(*(c * n - 0.5 for c, n in zip(k, shape, strict=True)), 1) for k in np.ndindex(2, 2, 2)])
    return ends @ np.asarray(affine).T


def saved(folder, key="image", **more):
    names = {"output_postfix": "out", "output_ext": ".nii.gz", "separate_folder": False, "print_log": False}
    return SaveImaged(key, output_dir=folder, **{"resample": False, **names, **more})


@pytest.mark.parametrize("scale", [2, 3, 1.5, 4])
def test_corners_and_content_stay_in_place_in_memory_and_in_the_file(scale, tmp_path):
    out = enlarging(scale=scale)({"image": blob()})
    assert list(out["image"].shape[1:]) == [round(scale * 20), round(scale * 24), 8]
    np.testing.assert_allclose(corners(out["image"].shape[1:], out["image"].affine), corners(SHAPE, OBLIQUE), atol=1e-9)
    saved(tmp_path)(out)
    written = nibabel.load(tmp_path / "case_out.nii.gz")
    np.testing.assert_allclose(written.affine, out["image"].affine, atol=1e-5)
    np.testing.assert_allclose(centre(written.get_fdata(), written.affine), CENTRE, atol=0.05)
    np.testing.assert_allclose(written.header.get_zooms(), [0.8 / scale, 1.1 / scale, 4], rtol=1e-5)


@pytest.mark.parametrize("by", ["network", "interpolation"])
def test_a_prediction_through_a_crop_lies_in_the_original_files_grid(by, tmp_path):
    image = blob()
    label = MetaTensor((image > 50).to(torch.uint8).as_tensor(), affine=image.affine.clone())
    mode = ("bilinear", "nearest")
    steps = Compose([CenterSpatialCropd(("image", "label"), (15, 17, 7)), enlarging(("image", "label"), by, mode=mode)])
    out = steps({"image": image, "label": label})
    out["pred"] = MetaTensor(out["label"].as_tensor())
    post = Compose([Invertd("pred", steps, orig_keys="image", nearest_interp=True), saved(tmp_path, "pred")])
    post(out)
    written = nibabel.load(tmp_path / "case_out.nii.gz")
    np.testing.assert_allclose(written.affine, OBLIQUE, atol=1e-5)
    kept = CenterSpatialCropd("label", (15, 17, 7))
    expected = kept.inverse(kept({"label": label}))["label"][0].numpy()
    assert expected.sum() > 30
    np.testing.assert_array_equal(np.asarray(written.dataobj), expected)


def test_a_file_of_another_orientation_comes_back(tmp_path):
    nibabel.save(nibabel.Nifti1Image(blob()[0].numpy(), OBLIQUE), tmp_path / "in.nii.gz")
    load = LoadImaged("image", ensure_channel_first=True)
    steps = Compose([load, Orientationd("image", "PIL", labels=None), enlarging()])
    out = steps({"image": tmp_path / "in.nii.gz"})
    for resample, shape in ((False, tuple(out["image"].shape[1:])), (True, SHAPE)):
        saved(tmp_path, resample=resample, output_postfix=str(resample))(out)
        written = nibabel.load(tmp_path / f"in_{resample}.nii.gz")
        assert written.shape == shape
        # MONAI's own resampling, its default, shifts by half a voxel of the finer grid
        found = centre(written.get_fdata(), written.affine)
        np.testing.assert_allclose(found, CENTRE, atol=0.3 if resample else 0.05)
    out["pred"] = MetaTensor(out["image"].as_tensor())
    back = Invertd("pred", steps, orig_keys="image", nearest_interp=False)(out)["pred"]
    np.testing.assert_allclose(back.affine, OBLIQUE, atol=1e-5)
    np.testing.assert_allclose(back[0], blob()[0], atol=6)  # a blob of 100 with 4 voxels across its half height


def test_a_lazy_chain_and_a_volume_by_a_3d_network():
    steps = [CenterSpatialCropd("image", (15, 17, 7)), enlarging()]
    lazy, plain = (Compose(steps, lazy=lazy)({"image": blob()})["image"] for lazy in (True, False))
    assert lazy.shape == (1, 30, 34, 7)
    assert torch.equal(lazy.as_tensor(), plain.as_tensor())
    assert torch.allclose(lazy.affine, plain.affine)
    deep = NetworkRestored("image", EDSR(3, features=4, num_blocks=1))({"image": blob()})["image"]
    np.testing.assert_allclose(corners(deep.shape[1:], deep.affine), corners(SHAPE, OBLIQUE), atol=1e-9)


@pytest.mark.parametrize("by", ["network", "interpolation"])
def test_a_batch_is_what_its_samples_are_and_comes_back(by):
    steps = Compose([enlarging(by=by)])
    out = Batched(steps)(list_data_collate([{"image": blob()}, {"image": blob() + 1}]))
    items = decollate_batch(out)
    for item, image in zip(items, (blob(), blob() + 1), strict=True):
        alone = steps({"image": image})["image"]
        assert torch.allclose(item["image"].as_tensor(), alone.as_tensor(), atol=1e-5)
        assert torch.equal(item["image"].affine, alone.affine)
    items[0]["pred"] = MetaTensor(items[0]["image"].as_tensor())
    back = Invertd("pred", Batched(steps), orig_keys="image", nearest_interp=False)(items[0])["pred"]
    assert back.shape == (1, *SHAPE)
    np.testing.assert_allclose(back.affine, OBLIQUE, atol=1e-9)


@pytest.mark.parametrize("by", ["network", "interpolation"])
def test_awkward_images(by):
    step = enlarging(by=by)
    half = step({"image": blob().half()})["image"]
    assert half.dtype == torch.float16
    whole = step({"image": blob().to(torch.int16) * 10 - 1000})["image"]
    assert whole.dtype == torch.float32
    assert -1010 < float(whole.min()) < -900
    assert float(half.max()) == pytest.approx(float(step({"image": blob()})["image"].max()), rel=2e-3)
    assert step({"image": torch.rand(1, 8, 9, 1)})["image"].shape == (1, 16, 18, 1 if by == "network" else 2)
    assert step({"image": torch.rand(1, 1, 1)})["image"].shape == (1, 2, 2)
    assert step({"image": torch.rand(3, 5, 6)})["image"].shape == (3, 10, 12)
    with pytest.raises(ValueError, match="'image' must be finite, got 1 NaN or Inf values"):
        step({"image": torch.tensor([[[1.0, float("nan")]]])})
    with pytest.raises(ValueError, match="'image' must not be empty"):
        step({"image": torch.zeros(1, 0, 4)})
    set_track_meta(False)
    try:
        assert type(step({"image": blob()})["image"]) is torch.Tensor
    finally:
        set_track_meta(True)


@pytest.mark.slow
def test_spawned_workers_and_the_process_agree():
    steps = Compose([enlarging()])
    data = Dataset([{"image": blob()} for _ in range(3)], steps)
    (batch,) = DataLoader(data, batch_size=3, num_workers=1, multiprocessing_context="spawn")
    alone = steps({"image": blob()})["image"]
    for image in decollate_batch(batch):
        assert torch.allclose(image["image"].as_tensor(), alone.as_tensor(), atol=1e-5)
        assert torch.equal(image["image"].affine, alone.affine)

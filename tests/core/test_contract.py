"""What the mechanism gives to operations of other kinds: a mask by key, another grid, complex images, a network."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Invertd

from monai_medaug.core.contract import Call, Input
from monai_medaug.core.operation import Operation, RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.transforms import Batched, NonLocalMeansDenoise, RandAffineElasticd, augmentation_report, replay

AFFINE = torch.tensor([[0, 2, 0, -30], [1.5, 0, 0, 10], [0, 0, 3, 5], [0, 0, 0, 1]], dtype=torch.float64)


def meta(tensor, affine=AFFINE):
    return MetaTensor(tensor.clone(), affine=affine.clone())


# ---- a mask by key -----------------------------------------------------------------------------------------------


class Brightened(Operation):
    """Adds 1 within a mask."""

    inputs = {"region": Input("a mask of where to brighten.", "mask", required=True)}

    def settings(self):
        return {"offset": 1.0}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return image + call.settings["offset"] * call.inputs["region"]


Brightenedd = dictionary_twin(Brightened)


def test_a_mask_by_key():
    image, region = torch.rand(2, 6, 5), torch.zeros(1, 6, 5)
    region[:, 2:4] = 7
    wanted = image + (region != 0)
    assert torch.equal(Brightened()(image, region=region), wanted)
    assert torch.equal(Brightened()(image, region=region[0].numpy().astype(bool)), wanted)  # without a channel axis
    bright = Brightenedd("image", region_key="where")
    data = {"image": meta(image), "where": region}
    out = bright(data)
    assert torch.equal(out["image"].as_tensor(), wanted)
    assert out["where"] is region
    report = augmentation_report(out)
    assert report["steps"][0]["keys"] == {"image": {"key": 0, "region": "where"}}
    assert torch.equal(replay(data, report.to_json())["image"].as_tensor(), wanted)
    with pytest.raises(ValueError, match="data must have the key 'where' that the report names"):
        replay({"image": data["image"]}, report)
    batch = list_data_collate([data, {"image": meta(image), "where": 0 * region}])
    assert torch.equal(Batched(bright)(batch)["image"].as_tensor(), torch.stack([wanted, image]))


def test_a_mask_that_is_missing_or_unfit():
    image, region = torch.rand(2, 6, 5), torch.zeros(1, 6, 5)
    with pytest.raises(TypeError, match="Brightened needs region: a mask"):
        Brightened()(image)
    with pytest.raises(TypeError, match=r"Brightened takes \['region'\], got mask"):
        Brightened()(image, mask=region, region=region)
    with pytest.raises(ValueError, match=r"region must have the shape \[2, 6, 5\] of img, or one channel"):
        Brightened()(image, region=region[..., :3])
    with pytest.raises(KeyError, match="key 'where' of the region is missing"):
        Brightenedd("image", region_key="where")({"image": image})
    for key in (None, ["where"]):
        with pytest.raises(ValueError, match="region_key must be a key, got"):
            Brightenedd("image", region_key=key)
    passed = Brightenedd("image", region_key="where", allow_missing_keys=True)({"image": image})
    assert passed["image"] is image
    with pytest.raises(ValueError, match="Brightened needs region: a mask"):
        Batched(Brightened())(torch.rand(2, 1, 6, 5))
    with pytest.raises(ValueError, match=r"'where' must have the shape \[2, 6, 5\] of 'image'"):
        Brightenedd("image", region_key="where")({"image": image, "where": region[:, :4]})


class Weighted(RandomOperation):
    """Adds a number of each sample, which stands beside the images."""

    inputs = {"weights": Input("a number for each sample.", "any")}

    def __init__(self, prob=0.5):
        super().__init__(prob)

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return image + call.spread([float(call.inputs["weights"][s]) for s in call.samples])


Weightedd = dictionary_twin(Weighted)


def test_inputs_of_any_kind_belong_to_their_samples_where_some_are_skipped():
    batch = list_data_collate([{"image": meta(torch.zeros(1, 4, 4)), "w": float(i)} for i in range(6)])
    out = Batched(Weightedd("image", weights_key="w", prob=0.5).set_random_state(1))(batch)["image"]
    applied = [t[-1]["do_transforms"] for t in out.applied_operations]
    assert 0 < sum(applied) < 6
    assert [float(x.mean()) for x in out] == [i * done for i, done in enumerate(applied)]


def test_a_guide_without_a_key_is_not_forgotten_in_a_replay():
    image, guide = meta(100 * torch.rand(1, 16, 16)), torch.rand(1, 16, 16)
    report = augmentation_report(NonLocalMeansDenoise(sigma=9.0)(image, guide=guide))
    with pytest.raises(ValueError, match="NonLocalMeansDenoise on 'image' can't be replayed: its guide had no key"):
        replay(image, report)


MALFORMED = [
    {"steps": ["x"]},
    {"steps": [{"applied": True}]},
    {"steps": [{"name": ["a"], "applied": True, "keys": {}}]},
    {"steps": [], "images": []},
    {"steps": [], "images": {"image": 3}},
    {"steps": [{"name": "Brightened", "applied": True, "keys": {"image": {}}, "params": {}}], "images": {"image": {}}},
]


@pytest.mark.parametrize("report", MALFORMED)
def test_a_malformed_report_is_refused_in_words(report):
    with pytest.raises(ValueError, match=r"report has a malformed step|images of the report|needs region"):
        replay({"image": meta(torch.rand(1, 6, 5))}, report)


# ---- another grid ------------------------------------------------------------------------------------------------


class Doubled(Operation):
    """Twice as many voxels along each axis, and back by means."""

    geometric = True

    def __init__(self, mode="bilinear"):
        super().__init__()
        self.mode = mode

    @classmethod
    def out_grid(cls, grid, params):
        return grid.resized([2 * n for n in grid.shape])

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        if call.inverse:
            steps = [slice(None, None, 2)] * (image.ndim - 2)
            return image[(..., *steps)].contiguous()
        for axis in range(2, image.ndim):
            image = image.repeat_interleave(2, axis)
        return image


class Widened(Operation):
    """Twice as many voxels along the last axis, for good."""

    @classmethod
    def out_grid(cls, grid, params):
        return grid.resized([*grid.shape[:-1], 2 * grid.shape[-1]])

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return image.repeat_interleave(2, -1)


class RandDoubled(RandomOperation):
    """Doubled at random."""

    geometric = True
    out_grid = Doubled.__dict__["out_grid"]

    def __init__(self, prob=0.5, mode="bilinear"):
        super().__init__(prob)
        self.mode = mode

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return Doubled.apply(image, call)


class RandShifted(RandomOperation):
    """The same voxels elsewhere in the world."""

    @classmethod
    def out_grid(cls, grid, params):
        affine = np.array(grid.affine)
        affine[:3, 3] += 7
        return type(grid)(grid.shape, affine.tolist())

    def __init__(self, prob=0.5):
        super().__init__(prob)

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return image + 1


RandShiftedd = dictionary_twin(RandShifted)


class Forgetful(Operation):
    """Changes the grid and doesn't say so."""

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return image[..., ::2]


Doubledd, Widenedd, RandDoubledd = dictionary_twin(Doubled), dictionary_twin(Widened), dictionary_twin(RandDoubled)


def corners(tensor):
    """World positions of the outer corners of a MetaTensor's grid."""
    shape = np.array(tensor.shape[1:])
    affine = tensor.affine.numpy()
    ends = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], indexing="ij")).reshape(len(shape), -1)
    return affine[:3, : len(shape)] @ ends + affine[:3, 3:]


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4)])
def test_another_grid_keeps_its_place_in_the_world(shape):
    image, mask = torch.rand(1, *shape), torch.randint(0, 5, (1, *shape))
    double = Doubledd(["image", "mask"], mode=["bilinear", "nearest"])
    data = {"image": meta(image), "mask": meta(mask)}
    out = double(data)
    assert out["mask"].dtype == mask.dtype
    assert out["image"].shape[1:] == out["mask"].shape[1:] == torch.Size(2 * n for n in shape)
    np.testing.assert_allclose(corners(out["image"]), corners(data["image"]), atol=1e-9)
    assert torch.equal(data["image"].affine, AFFINE)
    back = double.inverse(out)
    for key in data:
        assert torch.equal(back[key].as_tensor(), data[key].as_tensor())
        torch.testing.assert_close(back[key].affine, AFFINE)
        assert back[key].applied_operations == []
    again = replay(data, augmentation_report(out))
    assert torch.equal(again["image"].as_tensor(), out["image"].as_tensor())
    torch.testing.assert_close(again["image"].affine, out["image"].affine)


def test_another_grid_in_a_batch_each_in_its_place():
    other = AFFINE.clone()
    other[:3, 3] += 50
    samples = [{"image": meta(torch.rand(1, 4, 6, 5), a)} for a in (AFFINE, other)]
    double = Doubledd("image")
    out = Batched(double)(list_data_collate(samples))
    for sample, done in zip(samples, decollate_batch(out), strict=True):
        wanted = double(sample)["image"]
        assert torch.equal(done["image"].as_tensor(), wanted.as_tensor())
        torch.testing.assert_close(done["image"].affine, wanted.affine)
        back = double.inverse(done)["image"]
        assert torch.equal(back.as_tensor(), sample["image"].as_tensor())
        torch.testing.assert_close(back.affine, sample["image"].affine)


def test_affines_of_a_batch_where_some_samples_are_skipped():
    batch = list_data_collate([{"image": meta(torch.zeros(1, 4, 6, 5))} for _ in range(6)])
    out = Batched(RandShiftedd("image", prob=0.5).set_random_state(1))(batch)["image"]
    applied = [t[-1]["do_transforms"] for t in out.applied_operations]
    assert 0 < sum(applied) < 6
    for sample, done in zip(decollate_batch(out), applied, strict=True):
        torch.testing.assert_close(sample.affine[:3, 3], AFFINE[:3, 3] + 7 * done)
        assert float(sample.mean()) == done


def test_geometry_without_a_mode_is_refused():
    with pytest.raises(TypeError, match="Moved is geometric: its constructor must take mode"):

        class Moved(Operation):
            geometric = True


def test_invertd_brings_a_prediction_back_to_the_first_grid():
    steps = Compose([RandAffineElasticd("image", prob=1.0, elastic_alpha=0), Doubledd("image")])
    axes = torch.meshgrid(*[torch.linspace(-1, 1, 16)] * 2, indexing="ij")
    data = {"image": meta((-(axes[0] ** 2 + axes[1] ** 2) / 0.2).exp()[None])}
    out = steps(data)
    assert out["image"].shape == (1, 32, 32)
    out["pred"] = out["image"].clone()
    back = Invertd("pred", steps, orig_keys="image", nearest_interp=False)(out)["pred"]
    torch.testing.assert_close(back.affine, AFFINE)
    inside = (slice(None), slice(4, -4), slice(4, -4))
    assert float((back.as_tensor() - data["image"].as_tensor())[inside].abs().mean()) < 0.03


def test_points_stay_in_the_world_and_move_in_the_voxels():
    points = {"image": meta(torch.rand(1, 6, 5)), "p": torch.tensor([[1.0, 2.0]])}
    world = Doubledd("image", point_keys="p")(points)
    assert torch.equal(world["p"], points["p"])
    double = Doubledd("image", point_keys="p", point_space="voxel")
    voxel = double(points)
    torch.testing.assert_close(voxel["p"], torch.tensor([[2.5, 4.5]]))  # the middle of the four that it became
    torch.testing.assert_close(double.inverse(voxel)["p"], points["p"])


def test_what_another_grid_refuses():
    wide = Widenedd("image")
    out = wide({"image": meta(torch.rand(1, 6, 5))})
    np.testing.assert_allclose(corners(out["image"]), corners(meta(torch.rand(1, 6, 5))), atol=1e-9)
    with pytest.raises(ValueError, match="'image' can't be inverted: Widened changes the grid"):
        wide.inverse(out)
    double = Doubledd("image")
    out = double({"image": meta(torch.rand(1, 6, 5))})
    out["image"] = out["image"][:, :7]
    with pytest.raises(ValueError, match=r"'image' must have the spatial shape \(12, 10\) to be inverted"):
        double.inverse(out)
    some = RandDoubledd("image", prob=0.5).set_random_state(0)
    batch = list_data_collate([{"image": meta(torch.rand(1, 6, 5))} for _ in range(8)])
    with pytest.raises(ValueError, match=r"must have the spatial shape \[12, 10\] of the report, got \[18, 10\]"):
        replay({"image": meta(torch.rand(1, 9, 5))}, augmentation_report(double({"image": meta(torch.rand(1, 6, 5))})))
    with pytest.raises(ValueError, match="'image' must be changed in all samples of the batch or in none"):
        Batched(some)(batch)
    with pytest.raises(ValueError, match=r"Forgetful.apply must give the spatial shape \(6, 5\) of its out_grid"):
        Forgetful()(torch.rand(1, 6, 5))


# ---- complex images ----------------------------------------------------------------------------------------------


class Conjugated(Operation):
    """The complex conjugate."""

    accepts_complex = True

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        assert image.dtype == (torch.complex128 if call.out_dtype == torch.complex128 else torch.complex64)
        return image.conj().resolve_conj()


Conjugatedd = dictionary_twin(Conjugated)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_images(dtype):
    image = torch.randn(2, 6, 5, dtype=dtype)
    out = Conjugated()(meta(image))
    assert out.dtype == dtype
    assert torch.equal(out.as_tensor(), image.conj())
    assert out.applied_operations[-1]["class"] == "Conjugated"
    array = Conjugated()(image.numpy())
    assert array.dtype == image.numpy().dtype
    np.testing.assert_array_equal(array, image.conj().resolve_conj().numpy())
    batch = list_data_collate([{"image": meta(image)}, {"image": meta(2 * image)}])
    out = Batched(Conjugatedd("image"))(batch)["image"]
    assert torch.equal(out[1].as_tensor(), (2 * image).conj())
    assert torch.equal(replay(meta(image), augmentation_report(Conjugated()(meta(image)))).as_tensor(), image.conj())
    image[0, 1, 2] = complex(0, float("nan"))
    with pytest.raises(ValueError, match="finite, got 1 NaN"):
        Conjugated()(image)


def test_real_operations_refuse_complex_images():
    with pytest.raises(TypeError, match=r"img must hold real numbers, got dtype torch\.complex64"):
        Doubled()(torch.randn(1, 4, 4, dtype=torch.complex64))


# ---- a network inside --------------------------------------------------------------------------------------------


class Restored(Operation):
    """What a network makes of an image."""

    replayable = "its record doesn't hold the network"

    def __init__(self, network):
        super().__init__()
        self.network = network

    def resources(self):
        return {"network": self.network}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return call.resources["network"](image)


Restoredd = dictionary_twin(Restored)


def test_a_network_inside():
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    image = torch.rand(1, 6, 5)
    wanted = network(image[None])[0].detach()
    out = Restored(network)(meta(image))
    torch.testing.assert_close(out.as_tensor().detach(), wanted)
    batch = list_data_collate([{"image": meta(image)}] * 2)
    torch.testing.assert_close(Batched(Restoredd("image", network))(batch)["image"].as_tensor()[1].detach(), wanted)
    report = augmentation_report(out)
    assert report["steps"][0]["applied"]
    report.to_json()
    with pytest.raises(ValueError, match="step Restored on 'image' can't be replayed: its record doesn't hold"):
        replay(meta(image), report)

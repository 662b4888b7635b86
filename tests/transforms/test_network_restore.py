"""NetworkRestore as users run it: units, windows, volumes, devices' precision, scale, place, and wrong input."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.data.utils import dense_patch_slices
from monai.transforms import Compose, Invertd
from scipy.ndimage import gaussian_filter

from monai_medaug.functional.geometry.upscale import cubic_resized
from monai_medaug.networks import EDSR, DnCNN, MultiScaleSR
from monai_medaug.transforms import Batched, NetworkRestore, NetworkRestored, network_restore


class Halved(torch.nn.Module):
    """Half of the input, by a convolution."""

    def __init__(self, dims: int = 2, channels: int = 1) -> None:
        super().__init__()
        self.conv = (torch.nn.Conv2d if dims == 2 else torch.nn.Conv3d)(channels, channels, 1, bias=False)
        torch.nn.init.zeros_(self.conv.weight)
        with torch.no_grad():
            for c in range(channels):
                self.conv.weight[c, c] = 0.5

    def forward(self, x):
        return self.conv(x)


def moved(net: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    for value in net.parameters():
        torch.nn.init.normal_(value, std=0.1)
    return net


def test_values_come_to_the_networks_range_and_back():
    hu = torch.tensor([-3024.0, -1024.0, 0.0, 3071.0, 9000.0]).reshape(1, 1, 5)
    out = NetworkRestore(Halved(), value_range=(-1024, 3071))(hu)
    # half of the distance from -1024; what lies beyond the range passes by
    assert out.flatten().tolist() == pytest.approx([-3024, -1024, -512, 1023.5, 1023.5 + 9000 - 3071])
    image = torch.linspace(0, 200, 4000).reshape(1, 50, 80)
    out = NetworkRestore(Halved(), value_range="percentile")(image)
    assert torch.allclose(out, image / 2, atol=1e-3)
    assert torch.equal(NetworkRestore(Halved())(image), image / 2)


def test_weights_of_hu_refuse_an_image_in_another_unit():
    hu = torch.linspace(-1000, 900, 24 * 24).reshape(1, 24, 24)
    ask = NetworkRestore(Halved(), value_range=(-1024, 1500))
    with pytest.raises(ValueError, match=r"must be in Hounsfield units, got values within \[0, 1\].*trained in HU"):
        ask((hu + 1000) / 1900)
    for fine in (hu, hu[:, :1] * 0 + 40):  # a constant may be a crop of water
        assert torch.isfinite(ask(fine)).all()
    assert torch.isfinite(NetworkRestore(Halved(), value_range=(0, 1))((hu + 1000) / 1900)).all()


def test_strength_is_a_share_of_the_change():
    image = torch.rand(1, 12, 12)
    assert torch.allclose(NetworkRestore(Halved(), strength=0.5)(image), 0.75 * image)
    assert torch.equal(NetworkRestore(Halved(), strength=0)(image), image)
    net = moved(EDSR(features=4, num_blocks=1))
    assert torch.allclose(NetworkRestore(net, strength=0)(image), cubic_resized(image[None], [24, 24])[0])


@pytest.mark.parametrize("dims", [2, 3])
def test_windows_leave_no_seam(dims):
    """The result in windows is that of the whole away from borders, and no step at window borders stands out."""
    net = moved(DnCNN(dims, num_layers=4, features=6, norm=None))
    image = torch.rand(1, *(70, 61, 44)[:dims], generator=torch.Generator().manual_seed(1))
    whole = NetworkRestore(net, window=128)(image)
    tiled = NetworkRestore(net, window=32)(image)
    difference = (tiled - whole).abs()
    change = (whole - image).abs().mean()
    assert float(difference.mean()) < (0.03 if dims == 2 else 0.05) * change
    assert float(difference.max()) < 0.5 * (whole - image).abs().max()


_MARGIN = 6


def steps_at_borders(image: torch.Tensor, result: torch.Tensor, window: int) -> list[float]:
    """Along each axis the largest step where a window ends, as a share of the largest elsewhere inside the image."""
    size, scale, shares = image.shape[1:], result.shape[1] // image.shape[1], []
    inside = result[0][tuple(slice(_MARGIN * scale, (n - _MARGIN) * scale) for n in size)]
    roi = [min(window, n) for n in size]
    interval = [r if r == n else int(r * (1 - network_restore._OVERLAP)) for r, n in zip(roi, size, strict=True)]
    for axis, n in enumerate(size):
        windows = [s[axis] for s in dense_patch_slices(size, roi, interval)]
        ends = {e - _MARGIN for w in windows for e in (w.start, w.stop) if _MARGIN < e < n - _MARGIN}
        steps = inside.diff(dim=axis).abs().amax([a for a in range(len(size)) if a != axis])
        there = torch.zeros(len(steps), dtype=torch.bool)
        there[[e * scale - 1 for e in ends]] = True
        shares += [float(steps[there].max() / steps[~there].max())] if ends else []
    assert shares
    return shares


@pytest.mark.parametrize(
    ("net", "size", "window"),
    [
        (DnCNN(2, num_layers=8, features=6, norm=None), (150, 131), 64),
        (DnCNN(3, num_layers=5, features=4, norm=None), (110, 22, 21), None),
        (MultiScaleSR(2, features=6, num_blocks=2), (150, 131), 64),
        (EDSR(3, features=4, num_blocks=1), (110, 18, 17), None),
    ],
    ids=["denoiser 2D", "denoiser 3D", "twice 2D", "twice 3D"],
)
def test_no_step_at_a_window_border_stands_out(net, size, window):
    smooth = torch.from_numpy(gaussian_filter(np.random.default_rng(0).normal(size=size), 3)).float()[None]
    image = 5 + smooth / smooth.std()  # zeros beyond a border of a window are far off
    torch.manual_seed(0)
    for value in net.parameters():
        torch.nn.init.kaiming_normal_(value) if value.ndim > 3 else torch.nn.init.zeros_(value)
    out = NetworkRestore(net, window=window)(image)
    change = out - cubic_resized(image[None], list(out.shape[1:]))[0]
    assert float(change.std()) > 0.02
    for result in (out, change):
        assert max(steps_at_borders(image, result, window or 96)) < 2


@pytest.mark.parametrize("scale", [1.5, 2.5, 1.3])
def test_windows_of_a_scale_that_is_no_whole_number_fit(scale):
    """A window of 24 ends between voxels of the result: its own resize would place it wrongly, or have another size."""
    net, image = moved(MultiScaleSR(features=4, num_blocks=1)), torch.rand(1, 41, 37)
    whole, tiled = (NetworkRestore(net, scale=scale, window=w)(image) for w in (64, 24))
    assert tiled.shape == whole.shape == (1, round(41 * scale), round(37 * scale))
    change = whole - cubic_resized(image[None], list(whole.shape[1:]), True)[0]
    assert float((whole - tiled).abs().mean()) < 0.03 * float(change.abs().mean())


def test_windows_of_a_super_resolution_fit():
    net = moved(MultiScaleSR(features=4, num_blocks=1))
    image = torch.rand(1, 60, 50)
    whole, tiled = (NetworkRestore(net, window=w)(image) for w in (64, 24))
    assert whole.shape == tiled.shape == (1, 120, 100)
    assert float((whole - tiled).abs().mean()) < 0.05 * float(
        (whole - cubic_resized(image[None], [120, 100])[0]).abs().mean()
    )


def test_a_2d_network_treats_a_volume_slice_by_slice_across_the_widest_spacing():
    net = moved(EDSR(features=4, num_blocks=1))
    for thick in range(3):
        spacing = [5.0 if a == thick else 1.0 for a in range(3)]
        volume = MetaTensor(torch.rand(1, 7, 8, 9), affine=torch.diag(torch.tensor([*spacing, 1.0])))
        out = NetworkRestore(net)(volume)
        assert list(out.shape[1:]) == [n if a == thick else 2 * n for a, n in enumerate((7, 8, 9))]
        plane = volume.as_tensor().select(thick + 1, 2)
        with torch.no_grad():
            assert torch.allclose(out.as_tensor().select(thick + 1, 2)[0], net(plane[None])[0, 0], atol=1e-5)
        assert out.affine.diag()[thick] == 5


def test_channels_go_alone_or_together():
    image = torch.rand(3, 10, 11)
    alone = NetworkRestore(net := moved(DnCNN(num_layers=3, features=4)))(image)
    assert torch.allclose(alone[1], NetworkRestore(net)(image[1:2])[0], atol=1e-6)
    assert torch.allclose(NetworkRestore(Halved(channels=3))(image), image / 2)
    with pytest.raises(ValueError, match="img must have 3 channels for the network, got 2"):
        NetworkRestore(Halved(channels=3))(image[:2])


def test_the_noise_map_holds_the_level_in_the_networks_units():
    class Level(torch.nn.Module):
        noise_map = True

        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 1, 1)

        def forward(self, x):
            return x[:, 1:]

    image = 100 + 20 * torch.randn(1, 128, 128, generator=torch.Generator().manual_seed(0))
    given = NetworkRestore(Level(), value_range=(0, 200), sigma=10)(image.clamp(0, 200))
    assert torch.allclose(given, torch.full_like(given, 10))  # 10 / 200 of the range, and back from it
    estimated = NetworkRestore(Level(), value_range=(0, 200))(image.clamp(0, 200))
    assert 19 < float(estimated.mean()) < 21


def test_the_self_ensemble_does_not_depend_on_the_side():
    image, net = torch.rand(1, 14, 11), moved(DnCNN(num_layers=3, features=4, norm=None))
    plain, mean = NetworkRestore(net), NetworkRestore(net, self_ensemble=True)
    assert torch.allclose(mean(image.flip(1)).flip(1), mean(image), atol=1e-6)
    assert not torch.allclose(plain(image.flip(1)).flip(1), plain(image), atol=1e-4)


def test_the_network_stays_as_it_was_and_half_precision_is_near():
    net = moved(DnCNN(num_layers=3, features=4)).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    image = torch.rand(1, 20, 20, requires_grad=True)
    exact, fast = NetworkRestore(net)(image), NetworkRestore(net, amp=True)(image)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not exact.requires_grad
    assert 0 < float((exact - fast).abs().max()) < 0.05


def test_threads_share_a_network_in_training_mode():
    """As those of MONAI's CacheDataset do: none may put it back to training while another still uses it."""
    net, image = moved(DnCNN(num_layers=4, features=4)).train(), torch.rand(1, 30, 30)
    restore = NetworkRestore(net)
    expected = restore(image)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: restore(image), range(60)))
    assert net.training
    assert all(torch.equal(r, expected) for r in results)


def test_slices_across_different_axes_are_not_enlarged_together():
    spacings = torch.tensor([[1.0, 1, 4, 1], [4, 1, 1, 1]])
    along = [MetaTensor(torch.rand(1, 8, 8, 8), affine=torch.diag(s)) for s in spacings]
    batch = list_data_collate([{"image": image} for image in along])
    net = moved(MultiScaleSR(features=4, num_blocks=1))
    with pytest.raises(ValueError, match="'image' must have its slices across one axis in all samples"):
        Batched(NetworkRestored("image", net))(batch)
    denoiser = NetworkRestored("image", moved(DnCNN(num_layers=3, features=4)))
    out = Batched(denoiser)(batch)["image"]
    for k, image in enumerate(along):
        assert torch.allclose(out[k].as_tensor(), denoiser({"image": image})["image"].as_tensor(), atol=1e-6)


def test_masks_points_and_the_way_back():
    affine = torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))
    image = MetaTensor(torch.rand(1, 12, 10, 5), affine=affine)
    mask = MetaTensor((torch.rand(1, 12, 10, 5) > 0.5).to(torch.int16) * 7, affine=affine)
    net = moved(MultiScaleSR(features=4, num_blocks=1))
    steps = Compose([NetworkRestored(("image", "mask"), net, scale=3, mode=("bilinear", "nearest"))])
    out = steps({"image": image, "mask": mask})
    assert out["image"].shape == out["mask"].shape == (1, 36, 30, 5)
    assert set(out["mask"].unique().tolist()) == {0, 7}
    out["pred"] = MetaTensor(out["mask"].as_tensor())
    back = Invertd("pred", steps, orig_keys="image", nearest_interp=True)(out)["pred"]
    assert torch.equal(back.as_tensor(), mask.as_tensor())


def test_wrong_networks_and_arguments_are_named():
    with pytest.raises(TypeError, match=r"network must be a torch\.nn\.Module, got str"):
        NetworkRestore("ct_denoise")
    with pytest.raises(ValueError, match="network must have convolutions in 2D or 3D, got Linear"):
        NetworkRestore(torch.nn.Linear(2, 2))
    for bad in ((3, 1), "hu", (1,), (0, 0)):
        with pytest.raises(ValueError, match="value_range must be a pair"):
            NetworkRestore(Halved(), value_range=bad)
    with pytest.raises(ValueError, match="img must be a volume for a 3D network"):
        NetworkRestore(Halved(3))(torch.rand(1, 8, 8))
    with pytest.raises(ValueError, match="scale must be that of the network, got 3 where it makes"):
        NetworkRestore(EDSR(features=4, num_blocks=1), scale=3)(torch.rand(1, 8, 8))
    broken = Halved()
    with torch.no_grad():
        broken.conv.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="network must give finite values, and did not for img"):
        NetworkRestore(broken)(torch.rand(1, 8, 8))

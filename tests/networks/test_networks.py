"""The restoration networks: sizes, what they are before training, scripts and exports, both numbers of dimensions."""

import pytest
import torch

from monai_medaug.functional.geometry.upscale import cubic_resized
from monai_medaug.networks import EDSR, SRCNN, DnCNN, MultiScaleSR
from monai_medaug.networks.blocks import Shuffle

SMALL = {
    "DnCNN": (lambda dims: DnCNN(dims, num_layers=4, features=8), 1),
    "DnCNN without norm": (lambda dims: DnCNN(dims, num_layers=3, features=8, norm=None), 1),
    "DnCNN with dilations": (lambda dims: DnCNN(dims, num_layers=3, features=4, dilations=(1, 3, 2)), 1),
    "SRCNN": (lambda dims: SRCNN(dims, scale=3), 3),
    "EDSR": (lambda dims: EDSR(dims, features=8, num_blocks=2, scale=4, residual_scale=0.1), 4),
    "MultiScaleSR": (lambda dims: MultiScaleSR(dims, features=8, num_blocks=2), 2),
}
SIZES = (9, 12, 8)


def drawn(dims: int, more: int = 0) -> torch.Tensor:
    return torch.rand(2, 1, *(n + more for n in SIZES[:dims]), generator=torch.Generator().manual_seed(dims))


def moved_from_its_start(net: torch.nn.Module) -> torch.nn.Module:
    """A net whose layers that start at zero no longer are, in evaluation."""
    torch.manual_seed(0)
    for value in net.parameters():
        if value.ndim > 1 and not value.any():
            torch.nn.init.normal_(value, std=0.1)
    return net.eval()


@pytest.mark.parametrize(
    ("net", "count"),
    [
        (SRCNN(), 8_129),
        (EDSR(scale=2), 1_367_553),
        (EDSR(scale=4), 1_515_265),
        (DnCNN(), 556_097),
    ],
    ids=lambda x: getattr(x, "_get_name", lambda: str(x))(),
)
def test_parameters_are_as_many_as_published(net, count):
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_any_size_is_enlarged_by_the_scale_in_script_and_export_too(name, dims):
    build, scale = SMALL[name]
    net, image = moved_from_its_start(build(dims)), drawn(dims)
    out = net(image)
    assert list(out.shape[2:]) == [n * scale for n in SIZES[:dims]]
    assert torch.equal(torch.jit.script(net)(image), out)
    free = {i + 2: torch.export.Dim(f"d{i}", min=6, max=99) for i in range(dims)}
    exported = torch.export.export(net, (image,), dynamic_shapes=(free,)).module()
    other = drawn(dims, 3)
    assert torch.allclose(exported(other), net(other), atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_untrained_nets_neither_denoise_nor_sharpen(dims):
    image = drawn(dims)
    assert torch.equal(DnCNN(dims, num_layers=3, features=4).eval()(image), image)
    twice = cubic_resized(image, [2 * n for n in SIZES[:dims]])
    assert torch.equal(MultiScaleSR(dims, features=4, num_blocks=1)(image), twice)


def test_a_noise_map_is_a_channel_that_the_result_lacks():
    net = moved_from_its_start(DnCNN(in_channels=2, num_layers=3, features=4, noise_map=True, norm=None))
    image, level = torch.rand(1, 2, 9, 8), torch.full((1, 1, 9, 8), 0.1)
    out, stronger = net(torch.cat([image, level], 1)), net(torch.cat([image, 3 * level], 1))
    assert out.shape == image.shape
    assert (out - stronger).abs().max() > 1e-4


def test_dilations_add_up_to_the_surroundings_that_a_result_depends_on():
    apart = (1, 2, 3, 4, 3, 2, 1)
    torch.manual_seed(0)
    net = moved_from_its_start(DnCNN(num_layers=7, features=4, norm=None, dilations=apart))
    plain = DnCNN(num_layers=7, features=4, norm=None)
    assert [p.shape for p in net.parameters()] == [p.shape for p in plain.parameters()]
    image = torch.rand(1, 1, 41, 41, requires_grad=True)
    net(image)[0, 0, 20, 20].backward()
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    for places in (rows, columns):
        assert (int(places.min()), int(places.max())) == (20 - sum(apart), 20 + sum(apart))


@pytest.mark.parametrize("dims", [2, 3])
def test_shuffled_channels_lie_where_pixel_shuffle_puts_them(dims):
    f, image = 2, torch.arange(2.0**dims).reshape(1, -1, *[1] * dims).repeat(1, 1, *(3,) * dims)
    out = Shuffle(f)(image)
    for i in range(2**dims):
        place = [(i >> (dims - 1 - a)) & 1 for a in range(dims)]  # row-major
        assert (out[(0, 0, *[slice(p, None, 2) for p in place])] == i).all()


def test_other_scales_come_from_a_chain_and_a_resize():
    net, image = moved_from_its_start(MultiScaleSR(features=4, num_blocks=1)), drawn(2)
    assert torch.equal(net(image, 8), net(net(image, 4), 2))
    assert torch.equal(net(image, 3), cubic_resized(net(image, 4), [27, 36], True))
    assert torch.equal(net(image, 1.5), cubic_resized(net(image, 2), [14, 18], True))
    assert torch.equal(torch.jit.script(net)(image, 8.0), net(image, 8))


@pytest.mark.parametrize("scale", [1, 0.5, 65, float("nan")])
def test_a_scale_out_of_range_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be above 1"):
        MultiScaleSR(features=4, num_blocks=1)(drawn(2), scale)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: DnCNN(spatial_dims=1), "spatial_dims must be 2 or 3, got 1"),
        (lambda: DnCNN(num_layers=2), "num_layers must be at least 3, got 2"),
        (lambda: DnCNN(norm="layer"), "norm must be 'batch' or None"),
        (lambda: DnCNN(num_layers=3, dilations=(1, 2)), "dilations must be 3 numbers, one for each layer, got 2"),
        (lambda: DnCNN(num_layers=3, dilations=(1, 0, 1)), r"dilations must be finite and within \[1, 64\], got 0"),
        (lambda: SRCNN(scale=0), "scale must be a positive integer, got 0"),
        (lambda: EDSR(scale=1), "scale must be at least 2, got 1"),
        (lambda: EDSR(features=1.5), "features must be a positive integer, got 1.5"),
        (lambda: MultiScaleSR(scales=(2, 2)), "scales must be different integers"),
        (lambda: MultiScaleSR(scales=()), "scales must be different integers"),
    ],
)
def test_wrong_arguments_are_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_a_step_of_training_lowers_the_loss(name, dims):
    torch.manual_seed(0)
    build, scale = SMALL[name]
    net, image = build(dims).train(), drawn(dims)
    target = cubic_resized(image, [n * scale for n in SIZES[:dims]]) ** 2
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = (net(image) - target).abs().mean()
        loss.backward()
        used = [p for n, p in net.named_parameters() if not n.startswith("heads.4")]
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in used)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("side", [10, pytest.param(96, marks=pytest.mark.slow)])
@pytest.mark.parametrize("build", [DnCNN, EDSR])
def test_a_cube_runs_and_trains_a_step(build, side):
    torch.manual_seed(0)
    size = {"num_layers": 5} if build is DnCNN else {"num_blocks": 2}
    net, image = build(3, features=8, **size), torch.rand(1, 1, side, side, side)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    out = net.train()(image)
    before = (out - 0.5).square().mean()
    before.backward()
    optimiser.step()
    assert list(out.shape[2:]) == [side * getattr(net, "scale", 1)] * 3
    assert float((net(image) - 0.5).square().mean()) < float(before.detach())

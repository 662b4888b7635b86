"""Weights in files: what is read and refused, and 2D weights in a 3D net."""

import pickle

import pytest
import torch

from monai_medaug.functional.geometry.upscale import cubic_resized
from monai_medaug.networks import EDSR, DnCNN, MultiScaleSR, inflate_weights, load_weights, save_weights


def net(features: int = 4) -> DnCNN:
    made = DnCNN(num_layers=3, features=features)
    torch.nn.init.normal_(made.noise[-1].weight)
    return made


def same(a: torch.nn.Module, b: torch.nn.Module, tolerance: float = 0.0) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.allclose(x, y, atol=tolerance, rtol=tolerance) for x, y in pairs)


@pytest.mark.parametrize("units", [None, [-1024.0, 1500.0], "percentile"])
def test_weights_come_back_with_their_units(tmp_path, units):
    given = net()
    if units is not None:
        given.value_range = units
    save_weights(given, tmp_path / "a.safetensors")
    loaded = load_weights(net(), tmp_path / "a.safetensors")
    assert same(loaded, given)
    assert getattr(loaded, "value_range", None) == units
    assert [f.name for f in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("text", ["[1]", "{}", "code", '["a", "b"]', "3"])
def test_units_that_are_none_are_refused(tmp_path, text):
    from safetensors.torch import save_file

    given = net()
    save_file(given.state_dict(), tmp_path / "a.safetensors", {"value_range": text})
    with pytest.raises(ValueError, match="value_range"):
        load_weights(net(), tmp_path / "a.safetensors")


def test_half_precision_halves_the_file_and_loads_as_the_nets_own(tmp_path):
    given = net(16)
    save_weights(given, tmp_path / "whole.safetensors")
    save_weights(given, tmp_path / "half.safetensors", half=True)
    loaded = load_weights(net(16), tmp_path / "half.safetensors")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert same(loaded, given, 2e-3)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.65 * sizes[1]


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_checkpoints_of_torch_are_read_too(tmp_path, wrap):
    given = net()
    torch.save(wrap(given.state_dict()), tmp_path / "a.pt")
    assert same(load_weights(net(), tmp_path / "a.pt"), given)


class Harmful:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_files_that_are_no_weights_are_refused_and_change_nothing(tmp_path, name, capsys):
    start = net()
    before = {k: v.clone() for k, v in start.state_dict().items()}
    for content in (b"", b"no weights at all", pickle.dumps(Harmful(), protocol=2), b"\xff" * 4000):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}"):
            load_weights(start, tmp_path / name)
    torch.save({"x": Harmful()}, tmp_path / "b.pt")
    with pytest.raises(ValueError, match="tensors alone"):
        load_weights(start, tmp_path / "b.pt")
    assert "code ran" not in capsys.readouterr().out
    assert all(torch.equal(v, before[k]) for k, v in start.state_dict().items())


def test_weights_of_another_net_are_named(tmp_path):
    save_weights(net(), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a.safetensors has in another shape noise.0.weight"):
        load_weights(net(8), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="lacks body"):
        load_weights(EDSR(features=4, num_blocks=1), tmp_path / "a.safetensors")
    broken = net()
    with torch.no_grad():
        broken.noise[0].weight[0] = float("nan")
    save_weights(broken, tmp_path / "nan.safetensors")
    with pytest.raises(ValueError, match="finite"):
        load_weights(net(), tmp_path / "nan.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no"):
        load_weights(net(), tmp_path / "absent.safetensors")
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        save_weights(net(), tmp_path / "a.pt")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    given = net()
    save_weights(given, tmp_path / "a.safetensors")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        save_weights(net(), tmp_path / "a.safetensors")
    assert same(load_weights(net(), tmp_path / "a.safetensors"), given)
    assert [f.name for f in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(
    "build",
    [
        lambda dims: DnCNN(dims, num_layers=3, features=4),
        lambda dims: EDSR(dims, features=4, num_blocks=1, scale=4),
        lambda dims: MultiScaleSR(dims, features=4, num_blocks=1),
    ],
)
def test_an_inflated_net_treats_slices_as_the_flat_one(build):
    torch.manual_seed(0)
    flat, deep = build(2), build(3)
    for value in flat.parameters():
        torch.nn.init.normal_(value, std=0.2)
    inflate_weights(deep.eval(), flat.eval())
    slices = torch.rand(1, 1, 6, 7, 3)
    out, scale = deep(slices), deep(slices).shape[2] // 6
    if isinstance(flat, MultiScaleSR):  # its details alone: the interpolation below them is that of a volume
        out = out - cubic_resized(slices, [12, 14, 6])
    for k in range(3):
        plane = slices[..., k]
        wanted = flat(plane) - (cubic_resized(plane, [12, 14]) if isinstance(flat, MultiScaleSR) else 0)
        for s in range(scale):
            assert torch.allclose(out[..., k * scale + s], wanted, atol=1e-4)
    with pytest.raises(ValueError, match="flat must have the structure"):
        inflate_weights(deep, DnCNN(2, num_layers=4, features=4))

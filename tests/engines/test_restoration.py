"""Training of restoration networks: what is kept, resuming, losses, hooks, and that it learns."""

import os

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.losses import SSIMLoss
from monai.transforms import Compose, CopyItemsd, RandSpatialCropd

pytest.importorskip("ignite")

from monai_medaug.engines import (
    BlindSpotPrepareBatch,
    NeighbourSlicePrepareBatch,
    ReducingPrepareBatch,
    RestorationLoss,
    restoration_trainer,
)
from monai_medaug.functional.geometry.upscale import cubic_resized, reduced
from monai_medaug.networks import EDSR, DnCNN, MultiScaleSR, load_weights
from monai_medaug.transforms import RandMRINoised


def phantom(seed: int = 0, size: int = 48, count: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    out = []
    for _ in range(count):
        a, b, c = (torch.rand(3, generator=generator) * 4 + 1).tolist()
        out.append((torch.sin(a * axes[0] + b) * torch.cos(b * axes[1] - c) > 0).float() + 0.3 * axes[0] + 1)
    return torch.stack(out)[:, None]


def noisy(clean: torch.Tensor, seed: int = 1) -> torch.Tensor:
    return clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


def loader() -> DataLoader:
    steps = [
        RandSpatialCropd("image", 24, random_size=False),
        CopyItemsd("image", names="label"),
        RandMRINoised("image", snr=5, prob=1.0),
    ]
    return DataLoader(Dataset([{"image": x} for x in phantom()], Compose(steps)), batch_size=2, shuffle=True)


def net(seed: int = 0) -> DnCNN:
    torch.manual_seed(seed)
    return DnCNN(num_layers=3, features=8)


def trained(folder, epochs: int, **changes):
    network = net()
    trainer = restoration_trainer(network, loader(), folder, max_epochs=4, progress=False, average_steps=5, **changes)
    if epochs < 4:
        from ignite.engine import Events

        trainer.add_event_handler(Events.EPOCH_COMPLETED(once=epochs), lambda engine: engine.terminate())
    trainer.run()
    return network


def test_a_killed_run_goes_on_to_the_same_result(tmp_path):
    whole = trained(tmp_path / "whole", 4)
    trained(tmp_path / "cut", 2)
    resumed = trained(tmp_path / "cut", 4)
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    kept = [load_weights(net(9), tmp_path / name / "weights.safetensors") for name in ("whole", "cut")]
    for a, b in zip(*(k.state_dict().values() for k in kept), strict=True):
        assert torch.equal(a, b)
    assert not all(torch.equal(a, b) for a, b in zip(kept[0].parameters(), whole.parameters(), strict=True))
    before = (tmp_path / "cut" / "checkpoint.pt").read_bytes()
    trained(tmp_path / "cut", 4)  # it is done: nothing is trained again
    assert (tmp_path / "cut" / "checkpoint.pt").read_bytes() == before


def test_a_write_that_fails_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    trained(tmp_path, 1)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    real = os.replace

    def failing(source, target):
        if str(target).endswith("checkpoint.pt"):
            raise OSError("no space left")
        real(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(OSError, match="no space left"):
        trained(tmp_path, 2)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not (tmp_path / "checkpoint.pt.part").exists()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    trained(tmp_path, 1)
    with pytest.raises(ValueError, match=r"output_dir must hold no checkpoint\.pt, or one of this training"):
        restoration_trainer(DnCNN(num_layers=4, features=8), loader(), tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"output_dir must hold no checkpoint\.pt"):
        restoration_trainer(net(), loader(), tmp_path)
    assert restoration_trainer(net(), loader(), tmp_path, resume=False, progress=False).state.epoch == 0


def test_the_best_weights_by_validation_are_kept(tmp_path):
    scores = iter([3.0, 5.0, 4.0, 1.0])
    seen = []

    def validate(network):
        assert not network.training
        seen.append({k: v.clone() for k, v in network.state_dict().items()})
        return next(scores)

    trained(tmp_path, 4, validate=validate)
    kept = load_weights(net(9), tmp_path / "weights.safetensors").state_dict()
    assert all(torch.equal(kept[k], seen[1][k]) for k in kept)


def test_a_loss_that_is_not_finite_stops_the_run_in_words(tmp_path):
    with pytest.raises(ValueError, match="loss must be finite, got nan: lower learning_rate"):
        trained(tmp_path, 1, loss=lambda prediction, target: (prediction * torch.nan).mean())


def test_the_loss_is_a_mean_over_what_counts_and_a_share_of_ssim():
    torch.manual_seed(0)
    a, b = torch.rand(2, 1, 20, 20), torch.rand(2, 1, 20, 20)
    assert RestorationLoss()(a, b).item() == pytest.approx((a - b).abs().mean().item(), rel=1e-6)
    wanted = 0.25 * (a - b).abs().mean() + 0.75 * SSIMLoss(2, data_range=2.0)(a, b)
    assert RestorationLoss(0.75, value_range=2.0)(a, b).item() == pytest.approx(wanted.item(), rel=1e-6)
    hidden = b.clone()
    hidden[:, :, :10] = torch.nan
    assert RestorationLoss()(a, hidden).item() == pytest.approx((a - b)[:, :, 10:].abs().mean().item(), rel=1e-6)
    prediction = a.clone().requires_grad_()
    RestorationLoss()(prediction, hidden).backward()
    assert bool(torch.isfinite(prediction.grad).all())
    assert not prediction.grad[:, :, :10].any()
    with pytest.raises(ValueError, match="target must have no NaN"):
        RestorationLoss(0.5)(a, hidden)


@pytest.mark.parametrize("correlated", [False, True])
def test_noisy_images_alone_teach_a_denoiser(tmp_path, correlated):
    """Blind spots beat the noise; where it is correlated, only with a reach, since neighbours betray it."""
    torch.manual_seed(0)
    clean = phantom(count=16)
    noise = noisy(torch.zeros(16, 1, 48, 48))
    if correlated:
        noise = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(noise, (1, 1, 1, 1), "circular"), 3, 1) * 3
    errors = {}
    for reach in (0, 2) if correlated else (0,):
        network = net()
        batches = [{"image": part} for part in (clean + noise).split(4)]
        hook = BlindSpotPrepareBatch(0.02, reach)
        restoration_trainer(
            network, batches, tmp_path / str(reach), 60, 4e-3, prepare_batch=hook, progress=False, average_steps=60
        ).run()
        best = load_weights(net(), tmp_path / str(reach) / "weights.safetensors").eval()
        with torch.no_grad():
            errors[reach] = float((best(clean + noise) - clean).square().mean() / noise.square().mean())
    assert errors[max(errors)] < (0.8 if correlated else 0.6)
    if correlated:
        assert errors[2] < errors[0] - 0.1, errors


def test_neighbouring_slices_are_input_and_target():
    volume = torch.arange(5.0).expand(3, 1, 8, 8, 5)
    torch.manual_seed(0)
    pairs = set()
    for _ in range(40):
        image, target = NeighbourSlicePrepareBatch()({"image": volume})
        for a, b in zip(image[:, 0, 0, 0].tolist(), target[:, 0, 0, 0].tolist(), strict=True):
            assert abs(a - b) == 1
            pairs.add((a, b))
    assert len(pairs) == 8
    with pytest.raises(ValueError, match="'image' must be volumes"):
        NeighbourSlicePrepareBatch()({"image": torch.rand(2, 1, 8, 8)})
    with pytest.raises(ValueError, match="reach must be a number or one for each of 2 axes"):
        BlindSpotPrepareBatch(reach=(1, 2, 3))({"image": torch.rand(2, 1, 8, 8)})
    with pytest.raises(ValueError, match="batchdata must be a dictionary with 'image'"):
        BlindSpotPrepareBatch()([torch.rand(2, 1, 8, 8)])


def test_one_network_learns_two_scales(tmp_path):
    """From coarse images made of fine ones; better than interpolation on images that it has not seen."""
    torch.manual_seed(0)
    network = MultiScaleSR(features=12, num_blocks=2)
    batches = [{"image": part} for part in phantom(count=24).split(6)]
    hook = ReducingPrepareBatch()
    restoration_trainer(
        network, batches, tmp_path, 40, 3e-3, prepare_batch=hook, progress=False, average_steps=40
    ).run()
    best = load_weights(network, tmp_path / "weights.safetensors").eval()
    fine = phantom(seed=5, count=6)
    for scale in (2, 4):
        coarse = reduced(fine, [48 // scale] * 2)
        with torch.no_grad():
            left = (best(coarse, scale) - fine).abs().mean()
        plain = (cubic_resized(coarse, [48, 48]) - fine).abs().mean()
        assert left < 0.97 * plain, f"{scale}: {left / plain}"


def test_pairs_fit_the_network_and_small_images_are_refused():
    image, target, arguments, _ = ReducingPrepareBatch((3,), pass_scale=False)({"image": torch.rand(2, 1, 20, 31)})
    assert (image.shape[2:], target.shape[2:], arguments) == ((6, 10), (18, 30), ())
    assert EDSR(features=4, num_blocks=1, scale=3)(image).shape == target.shape
    image, target, *_ = ReducingPrepareBatch((4,), "gaussian", axes=[2])({"image": torch.rand(1, 1, 6, 7, 20)})
    assert (image.shape[2:], target.shape[2:]) == ((6, 7, 5), (6, 7, 20))
    with pytest.raises(ValueError, match="'image' must have 4 voxels along axis 1"):
        ReducingPrepareBatch((4,))({"image": torch.rand(2, 1, 8, 3)})
    with pytest.raises(ValueError, match="scales must be integers from 2"):
        ReducingPrepareBatch((1,))

"""Training of a GAN: losses, resuming after a kill, what is kept, that it learns, generated samples, and bad data."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from PIL import Image
from torch import nn
from torch.nn import functional as F

pytest.importorskip("ignite")

from monai_medaug.engines import (
    GenerationMonitor,
    NonSaturatingLosses,
    discriminator_augmentation,
    generate_samples,
    train_feature_network,
    train_gan,
)
from monai_medaug.networks import DCGANDiscriminator, DCGANGenerator, load_weights
from monai_medaug.transforms import RandAffineElasticd, RandMRINoised


def discs(count: int = 24, seed: int = 0) -> list[dict]:
    """Discs at the left (class 0) and at the right (class 1), from 0 to 200."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:32, :32]
    made = []
    for place in range(count):
        label = place % 2
        centre, size = (16 + random.normal(), (9, 23)[label] + random.normal()), random.uniform(4, 6)
        image = 200.0 * ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < size**2)
        made.append({"image": torch.from_numpy(image).float()[None], "label": label})
    return made


def nets(classes: int = 0, seed: int = 0, **changes) -> tuple[DCGANGenerator, DCGANDiscriminator]:
    torch.manual_seed(seed)
    return (
        DCGANGenerator(8, 32, features=16, num_classes=classes),
        DCGANDiscriminator(32, features=16, num_classes=classes, **changes),
    )


def trained(folder, epochs: int, handlers=(), **changes) -> nn.Module:
    moved = RandAffineElasticd("image", 0.5, 0, 0.05, 0, elastic_alpha=0)
    loader = DataLoader(Dataset(discs(), moved), batch_size=8, shuffle=True)
    given = {"value_range": (0, 200), "average_steps": 5, "grid_size": 9, "progress": False, "device": "cpu"}
    augment = discriminator_augmentation(strength=0.3)
    networks = nets(2)
    return train_gan(*networks, loader, folder, epochs, handlers=handlers, augment=augment, **{**given, **changes})


class Killed(Exception):
    pass


class KillAt:
    """A handler that ends the run in the middle of an epoch, as a kill does, and counts the steps."""

    def __init__(self, step: int | None = None) -> None:
        self.step, self.steps = step, 0

    def attach(self, engine) -> None:
        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine) -> None:
        self.steps = engine.state.iteration
        if engine.state.iteration == self.step:
            raise Killed


def test_a_killed_run_goes_on_to_the_same_result(tmp_path):
    """Killed in the second of three epochs: same count of steps, same weights, same grids as without the kill."""
    whole, resumed = KillAt(), KillAt()
    first = trained(tmp_path / "whole", 3, [whole])
    with pytest.raises(Killed):
        trained(tmp_path / "cut", 3, [KillAt(5)])
    assert [f.name for f in (tmp_path / "cut" / "samples").iterdir()] == ["0001.png"]
    second = trained(tmp_path / "cut", 3, [resumed])
    assert whole.steps == resumed.steps == 9
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for epoch in ("0001", "0002", "0003"):
        grids = [(tmp_path / run / "samples" / f"{epoch}.png").read_bytes() for run in ("whole", "cut")]
        assert grids[0] == grids[1]
    assert (tmp_path / "whole" / "history.json").read_text() == (tmp_path / "cut" / "history.json").read_text()
    before = (tmp_path / "cut" / "checkpoint.pt").read_bytes()
    trained(tmp_path / "cut", 3)  # it is done: nothing is trained again
    assert (tmp_path / "cut" / "checkpoint.pt").read_bytes() == before


def test_what_is_kept_is_the_best_average_in_the_images_units(tmp_path):
    seen, scores = [], iter([3.0, 1.0, 2.0])

    def monitor(generator):
        assert not generator.training
        seen.append({k: v.clone() for k, v in generator.state_dict().items()})
        return {"fid": next(scores), "other": 0.5}

    best = trained(tmp_path, 3, monitor=monitor)
    kept = load_weights(nets(2)[0], tmp_path / "weights.safetensors")
    for own in (best, kept):
        assert all(torch.equal(v, seen[1][k]) for k, v in own.state_dict().items())
        assert own.value_range == [0.0, 200.0]
    history = json.loads((tmp_path / "history.json").read_text())
    assert [row["fid"] for row in history] == [3.0, 1.0, 2.0]
    assert all({"epoch", "generator_loss", "discriminator_loss", "other"} <= row.keys() for row in history)
    images = generate_samples(best, 9, 0)
    assert 0 <= float(images.min()) < float(images.max()) <= 200
    assert Image.open(tmp_path / "samples" / "0001.png").size == (3 * 33 + 1, 3 * 33 + 1)


def test_it_learns_where_the_discs_of_each_class_lie(tmp_path):
    data = discs(64)
    loader = DataLoader(Dataset(data), batch_size=8, shuffle=True)
    torch.manual_seed(0)
    networks = DCGANGenerator(8, 32, features=32, num_classes=2), DCGANDiscriminator(32, 1, 32, 2, 0.0, "batch")
    given = {"value_range": (0, 200), "average_steps": 50, "grid_size": 4, "progress": False, "device": "cpu"}
    images = generate_samples(train_gan(*networks, loader, tmp_path, 30, 1e-3, **given), 40, 1) / 200
    real = torch.stack([d["image"] for d in data]) / 200
    for label in (0, 1):
        own, other = ((images[label::2].mean(0) - real[k::2].mean(0)).abs().mean() for k in (label, 1 - label))
        assert float(own) < 0.7 * float(other), (float(own), float(other))


def test_losses_are_cross_entropies_of_logits_and_leave_the_generator_alone():
    generator, discriminator = nets(dropout=0.0)
    losses = NonSaturatingLosses(discriminator)
    fakes, reals = generator(torch.randn(4, 8)), torch.rand(4, 1, 32, 32)
    one, zero = torch.ones(4, 1), torch.zeros(4, 1)
    entropy = F.binary_cross_entropy_with_logits
    wanted = entropy(discriminator(reals), one) + entropy(discriminator(fakes), zero)
    found = losses.of_discriminator(fakes, reals)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert losses.of_generator(fakes).item() == pytest.approx(entropy(discriminator(fakes), one).item(), rel=1e-5)
    found.backward()
    assert all(p.grad is None for p in generator.parameters())
    assert all(p.grad is not None for p in discriminator.parameters())
    losses.of_generator(fakes).backward()
    assert all(p.grad is not None for p in generator.parameters())


def test_the_gradient_penalty_is_that_of_r1():
    """A linear discriminator's slope is its weight."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(4.0))

        def forward(self, x):
            return (x.flatten(1) * self.weight).sum(1, keepdim=True)

    judge, images = Linear(), torch.rand(3, 1, 2, 2)
    plain = NonSaturatingLosses(judge).of_discriminator(images, images)
    loss = NonSaturatingLosses(judge, gradient_penalty=0.5).of_discriminator(images, images)
    assert (loss - plain).item() == pytest.approx(0.25 * (1 + 4 + 9), rel=1e-5)
    loss.backward()
    assert bool(judge.weight.grad.isfinite().all())


def test_the_discriminator_sees_each_image_changed_by_a_draw_of_its_own():
    augment = discriminator_augmentation()
    losses = NonSaturatingLosses(nn.Identity(), augment)
    images = torch.linspace(-0.5, 0.5, 32).expand(6, 1, 32, 32).clone().requires_grad_()
    seen = losses.logits(images)
    assert len({round(float(x.detach().sum()), 4) for x in seen}) == 6
    assert float(seen.detach().min()) >= -1.8
    (gradient,) = torch.autograd.grad(seen.sum(), images)
    assert float(gradient.abs().sum()) > 100
    deaf = RandMRINoised("image", prob=1.0)
    with pytest.raises(ValueError, match="augment must be differentiable, got a transform that passes no gradient on"):
        NonSaturatingLosses(nn.Identity(), deaf).logits(images)


def test_the_monitor_tells_near_from_far():
    random = torch.Generator().manual_seed(0)
    real = torch.stack([d["image"] for d in discs(40)]) / 100 - 1
    monitor = GenerationMonitor(
        lambda x: F.avg_pool2d(x, 16).flatten(1), real + 0.1 * torch.randn(real.shape, generator=random)
    )

    class Copies(nn.Module):
        latent_dim = 1

        def __init__(self, noise: float) -> None:
            super().__init__()
            self.noise = nn.Parameter(torch.tensor(noise))

        def forward(self, latents):
            return real[torch.arange(len(latents)) % len(real)] + self.noise * torch.randn(len(latents), 1, 32, 32)

    near, far = monitor(Copies(0.1)), monitor(Copies(3.0))
    assert list(near) == ["fid", "mmd", "spectrum_db"]
    assert near["fid"] < 0.1 * far["fid"]
    assert near["spectrum_db"] < 0.5 < 5 < far["spectrum_db"]


def test_samples_depend_on_seed_and_place_alone():
    generator = nets(2)[0].train()
    for _ in range(30):  # until its BatchNorm knows the features' scale
        generator(torch.randn(16, 8), torch.arange(16) % 2)
    some = generate_samples(generator, 5, seed=3)
    assert generator.training
    more = generate_samples(generator, 9, seed=3, batch_size=2)
    assert torch.allclose(more[:5], some, atol=1e-5)
    assert not torch.allclose(generate_samples(generator, 5, seed=4), some, atol=1e-2)
    of_one = generate_samples(generator, 4, 3, labels=1)
    assert torch.allclose(of_one[1], some[1], atol=1e-5)
    assert not torch.equal(of_one[0], some[0])
    generator.value_range = [10.0, 20.0]
    assert torch.allclose(generate_samples(generator, 5, 3), 15 + 5 * some, atol=1e-4)
    assert generate_samples(nets()[0], 2).shape == (2, 1, 32, 32)


def test_features_are_trained_alike_by_the_same_seed_and_leave_torchs_alone():
    images, state = torch.stack([d["image"] for d in discs(12)]), torch.random.get_rng_state()
    nets_of = [train_feature_network(images, torch.arange(12) % 2, epochs=2, batch_size=6, seed=s) for s in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    one, same, other = (net(images).detach() for net in nets_of)
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert torch.allclose(nets_of[0](3 * images + 7), one, atol=1e-4)  # gain and offset are not seen
    assert nets_of[0].classified(images).shape == (12, 2)


def loader_of(items: list[dict], size: int = 4, **changes) -> DataLoader:
    return DataLoader(Dataset(items), batch_size=size, **changes)


def test_data_that_teach_nothing_are_refused_in_words(tmp_path):
    good, image = discs(8), discs(1)[0]["image"]
    broken = [dict(d) for d in good]
    broken[0]["image"] = torch.full_like(image, torch.nan)
    constant = [{"image": torch.full_like(image, 7), "label": 0} for _ in range(8)]
    for data, message in (
        (loader_of(constant), "'image' must hold different images, got a batch of 4 equal ones"),
        (loader_of([{"image": image}] * 8), "'image' must hold different images"),
        (loader_of(good[:1]), "loader must hold 2 images or more, got 1"),
        (loader_of(broken), "image must be finite, got 1024 NaN or Inf values"),
        (loader_of(good, 1), "loader must have a batch_size of 2 or more, got 1"),
        (loader_of(good, 16, drop_last=True), "loader must give a batch an epoch, got none of 8 images"),
        (loader_of([{"picture": image}] * 4), "the loader must give dictionaries with"),
        (loader_of([{"image": 2 * d["image"]} for d in good]), r"'image' must lie within value_range \[0, 200\], got"),
    ):
        with pytest.raises(ValueError, match=message):
            train_gan(*nets(), data, tmp_path, 1, value_range=(0, 200), resume=False, progress=False)
    with pytest.raises(TypeError, match="loader must be a DataLoader, got list"):
        train_gan(*nets(), good, tmp_path, 1)
    with pytest.raises(ValueError, match="loss must be finite, got nan: lower learning_rate"):
        train_gan(*nets(), loader_of(good), tmp_path, 5, 1e30, value_range=(0, 200), resume=False, progress=False)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    given = {"value_range": (0, 200), "progress": False}
    train_gan(*nets(), loader_of(discs(8)), tmp_path, 1, **given)
    for networks, changes in ((nets(2), {}), (nets(), {"value_range": (0, 300)})):
        with pytest.raises(ValueError, match=r"output_dir must hold no checkpoint\.pt, or one of this training"):
            train_gan(*networks, loader_of(discs(8)), tmp_path, 2, **{**given, **changes})


def test_arguments_out_of_range_are_refused():
    generator = nets(2)[0]
    for call, message in (
        (lambda: generate_samples(generator, 0), "n must be finite and within"),
        (lambda: generate_samples(generator, 2, -1), "seed must be finite and within"),
        (lambda: generate_samples(generator, 2, labels=2), "labels must be classes of 0 to 1, got 2"),
        (lambda: generate_samples(generator, 2, labels=[0]), r"labels must be a class or 2 of them, got \[0\]"),
        (lambda: generate_samples(nets()[0], 2, labels=0), "labels must be None for a generator without classes"),
        (lambda: train_feature_network(torch.rand(4, 1, 16, 16)), "images must be 8 or more, got 4"),
        (lambda: train_feature_network(torch.rand(9, 1, 16, 16), torch.zeros(3)), "labels must be 9 class ids from 0"),
        (lambda: GenerationMonitor(lambda x: x.flatten(1), torch.rand(9, 1, 8, 8)), "real must be more images than"),
        (lambda: discriminator_augmentation(strength=0), "strength must be finite and within"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="generator must be a module with latent_dim"):
        generate_samples(nn.Linear(2, 2), 1)
    weights = generator.stages[0].weight
    weights.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="generator must give finite images"):
        generate_samples(generator, 2)


def test_the_whole_loop_runs_on_ct_slices_of_256(tmp_path):
    """The source's size: real axial slices in HU, losses finite, samples in HU."""
    folder = Path(os.environ.get("MONAI_MEDAUG_DATA", "absent"))
    if not (folder / "lungdx_A0001_ct_kernelB.nii.gz").is_file():
        pytest.skip("MONAI_MEDAUG_DATA is unset or holds no such images")
    volume = nib.load(folder / "lungdx_A0001_ct_kernelB.nii.gz").get_fdata(dtype=np.float32)
    slices = torch.from_numpy(volume[40:296, 90:346]).clamp(-1000, 1000).movedim(2, 0)[:, None]
    loader = DataLoader(Dataset([{"image": x} for x in slices[::4]]), batch_size=2)
    torch.manual_seed(0)
    networks = DCGANGenerator(100, 256, features=32), DCGANDiscriminator(256, features=32)
    given = {"value_range": (-1000, 1000), "grid_size": 2, "progress": False, "device": "cpu"}
    generator = train_gan(*networks, loader, tmp_path, 1, **given)
    (row,) = json.loads((tmp_path / "history.json").read_text())
    assert np.isfinite([row["generator_loss"], row["discriminator_loss"]]).all()
    images = generate_samples(generator, 2)
    assert images.shape == (2, 1, 256, 256)
    assert -1000 <= float(images.min()) < float(images.max()) <= 1000

"""The diffusion generator: the face of a generator, training by our trainer, classes, and bad input."""

import pytest
import torch
from torch import nn

from monai_medaug.engines import NoisePredictionPrepareBatch, generate_samples, restoration_trainer
from monai_medaug.networks import DiffusionGenerator, load_weights
from monai_medaug.transforms import RandSyntheticSample


def small(**changes) -> DiffusionGenerator:
    torch.manual_seed(0)
    return DiffusionGenerator(**{"image_size": 16, "channels": (8, 16), "steps": 5, "train_steps": 50, **changes})


def test_the_same_noise_gives_the_same_image():
    generator = small()
    some = generate_samples(generator, 3, seed=1)
    assert some.shape == (3, 1, 16, 16)
    assert float(some.abs().max()) <= 1
    assert torch.allclose(generate_samples(generator, 5, seed=1, batch_size=2)[:3], some, atol=1e-4)
    assert not torch.allclose(generate_samples(generator, 3, seed=2), some, atol=0.1)
    swap = RandSyntheticSample(generator, share=1.0)
    assert swap(torch.zeros(1, 16, 16)).shape == (1, 16, 16)


def test_an_ideal_denoiser_leads_to_the_image_of_the_class():
    """Where the noise is known exactly, DDIM ends at the image, whatever it starts from."""
    generator = small(num_classes=2)
    levels = torch.tensor([-0.6, 0.7])

    class Ideal(nn.Module):
        def forward(self, noisy, times, class_labels):
            kept = generator.scheduler.alphas_cumprod[times][:, None, None, None]
            return (noisy - kept.sqrt() * levels[class_labels][:, None, None, None]) / (1 - kept).sqrt()

    weight = nn.Parameter(torch.zeros(1))
    generator.denoiser = Ideal()
    generator.register_parameter("weight", weight)
    generator.value_range = [0.0, 100.0]
    made = generate_samples(generator, 6, 0)
    assert torch.allclose(made[::2], torch.tensor(20.0), atol=2)
    assert torch.allclose(made[1::2], torch.tensor(85.0), atol=2)


def test_our_trainer_teaches_it_to_tell_noise(tmp_path):
    """The error of its noise falls well below 1, that of no prediction, and the weights are kept."""
    pytest.importorskip("ignite")
    generator = small(num_classes=2)
    labels = torch.arange(16) % 2
    images = (60.0 * labels + 20)[:, None, None, None].expand(-1, 1, 16, 16)
    hook = NoisePredictionPrepareBatch(generator, value_range=(0, 100))
    trainer = restoration_trainer(
        generator.denoiser, [{"image": images, "label": labels}] * 10, tmp_path, 5, 4e-3, nn.functional.mse_loss, hook,
        average_steps=5, progress=False, device="cpu",
    )  # fmt: skip
    trainer.run()
    load_weights(generator.denoiser, tmp_path / "weights.safetensors").eval()
    noisy, noise, times, named = hook({"image": images, "label": labels})
    with torch.no_grad():
        error = (generator.denoiser(noisy, *times, **named) - noise).square().mean()
    assert float(error) < 0.5
    assert generator.value_range == [0.0, 100.0]


def test_noise_is_that_of_the_schedule():
    generator = small()
    hook, images = NoisePredictionPrepareBatch(generator), torch.full((400, 1, 16, 16), 0.75)
    noisy, noise, (times,), _ = hook({"image": images})
    kept = generator.scheduler.alphas_cumprod[times][:, None, None, None]
    assert torch.allclose(noisy, kept.sqrt() * 0.5 + (1 - kept).sqrt() * noise, atol=1e-5)
    assert abs(float(noise.std()) - 1) < 0.02
    assert set(times.tolist()) == set(range(50))


def test_what_does_not_fit_is_refused_in_words():
    for call, message in (
        (lambda: small(channels=(8, 12)), "channels must be two multiples of 8 or more"),
        (lambda: small(image_size=17), "image_size must be a multiple of 2, got 17"),
        (lambda: small(steps=60), "steps must be finite and within"),
        (lambda: small()(torch.zeros(1, 1, 8, 8)), r"latents must be \(B, \*\[1, 16, 16\]\), got \[1, 1, 8, 8\]"),
        (lambda: small()(torch.zeros(1, 1, 16, 16), torch.zeros(1)), "labels must be None for a network without"),
        (lambda: NoisePredictionPrepareBatch(small())({"image": torch.full((2, 1, 16, 16), torch.nan)}), "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            call()

"""The DCGAN's networks: the source's stack, sizes, classes, logits, how they start, export, and bad input."""

import pytest
import torch
from torch import nn

from monai_medaug.networks import DCGANDiscriminator, DCGANGenerator, load_weights, save_weights


def convolutions(network: nn.Module, kind: type) -> list:
    return [m for m in network.modules() if isinstance(m, kind)]


def test_the_stack_is_the_sources():
    """Latent 100, 512 to 16 channels and 1, BatchNorm and ReLU, Tanh; LeakyReLU 0.2, dropout 0.3, no sigmoid."""
    generator, discriminator = DCGANGenerator(), DCGANDiscriminator()
    ups = convolutions(generator, nn.ConvTranspose2d)
    assert [(m.in_channels, m.out_channels) for m in ups] == [
        (100, 512), (512, 256), (256, 128), (128, 64), (64, 32), (32, 16), (16, 1),
    ]  # fmt: skip
    assert len(convolutions(generator, nn.BatchNorm2d)) == len(convolutions(generator, nn.ReLU)) == 6
    assert isinstance(generator.stages[-1], nn.Tanh)
    downs = convolutions(discriminator, nn.Conv2d)
    assert [m.out_channels for m in downs] == [16, 32, 64, 128, 256, 512, 1]
    assert {m.negative_slope for m in convolutions(discriminator, nn.LeakyReLU)} == {0.2}
    assert {m.p for m in convolutions(discriminator, nn.Dropout)} == {0.3}
    assert not convolutions(discriminator, nn.Sigmoid)


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
@pytest.mark.parametrize(("channels", "classes"), [(1, 0), (3, 2)])
def test_every_size_fits_from_latents_to_logits(size, channels, classes):
    """Flat latents, as MONAI's trainer sends them, to logits of any sign that have the labels' shape."""
    generator = DCGANGenerator(20, size, channels, features=16, num_classes=classes)
    discriminator = DCGANDiscriminator(size, channels, features=16, num_classes=classes)
    labels = torch.tensor([0, 1]) if classes else None
    images = generator(torch.randn(2, 20), labels)
    logits = discriminator(images, labels)
    assert images.shape == (2, channels, size, size)
    assert float(images.detach().abs().max()) <= 1
    assert logits.shape == (2, 1)
    nn.BCEWithLogitsLoss()(logits, torch.ones(2, 1)).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in generator.parameters())


def test_it_starts_as_the_paper_says():
    torch.manual_seed(0)
    generator, discriminator = DCGANGenerator(), DCGANDiscriminator()
    for network in (generator, discriminator):
        for layer in convolutions(network, nn.Conv2d) + convolutions(network, nn.ConvTranspose2d):
            assert abs(float(layer.weight.std()) - 0.02) < 0.003
            assert abs(float(layer.weight.mean())) < 0.003
            assert layer.bias is None or not layer.bias.any()
    norm = convolutions(generator, nn.BatchNorm2d)[0]
    assert abs(float(norm.weight.mean()) - 1) < 0.01
    assert 0.01 < float(norm.weight.std()) < 0.03


def test_a_label_counts():
    torch.manual_seed(0)
    generator, discriminator = DCGANGenerator(8, 32, features=16, num_classes=3), DCGANDiscriminator(32, 1, 16, 3)
    latents = torch.randn(1, 8).expand(3, -1)
    images = generator.eval()(latents, torch.arange(3))
    assert float((images[0] - images[1]).abs().max()) > 0
    logits = discriminator.eval()(images[:1].expand(3, -1, -1, -1), torch.arange(3))
    assert len(set(logits.flatten().tolist())) == 3


def test_it_is_scripted_and_kept(tmp_path):
    generator = DCGANGenerator(8, 32, features=16, num_classes=2).eval()
    latents, labels = torch.randn(3, 8), torch.tensor([1, 0, 1])
    images = generator(latents, labels)
    assert torch.allclose(torch.jit.script(generator)(latents, labels), images, atol=1e-6)
    assert torch.equal(generator(latents[:, :, None, None], labels), images)
    discriminator = DCGANDiscriminator(32, features=16).eval()
    assert torch.allclose(torch.jit.script(discriminator)(images), discriminator(images), atol=1e-6)
    save_weights(generator, tmp_path / "g.safetensors")
    again = load_weights(DCGANGenerator(8, 32, features=16, num_classes=2), tmp_path / "g.safetensors").eval()
    assert torch.equal(again(latents, labels), images)


def test_what_does_not_fit_is_refused_in_words():
    for arguments, message in (
        ({"image_size": 48}, "image_size must be one of 32, 64, 128, 256, 512, got 48"),
        ({"latent_dim": 0}, "latent_dim must be finite and within"),
        ({"features": 8}, "features must be finite and within"),
        ({"num_classes": -1}, "num_classes must be finite and within"),
        ({"out_channels": 0}, "out_channels must be finite and within"),
    ):
        with pytest.raises(ValueError, match=message):
            DCGANGenerator(**arguments)
    with pytest.raises(ValueError, match="dropout must be finite and within"):
        DCGANDiscriminator(dropout=1.0)
    plain, labelled = DCGANGenerator(8, 32, features=16), DCGANGenerator(8, 32, features=16, num_classes=2)
    judge, of_class = DCGANDiscriminator(32, features=16), DCGANDiscriminator(32, features=16, num_classes=2)
    image, latents = torch.zeros(2, 1, 32, 32), torch.zeros(2, 8)
    for call, message in (
        (lambda: plain(torch.zeros(2, 9)), r"latents must be \(B, 8\), got \[2, 9\]"),
        (lambda: plain(latents, torch.tensor([0, 1])), "labels must be None for a network without classes"),
        (lambda: labelled(latents), "labels must be class ids of 0 to 1, got None"),
        (lambda: labelled(latents, torch.tensor([0, 2])), "labels must be class ids of 0 to 1, got 0 to 2"),
        (lambda: labelled(latents, torch.tensor([0])), "labels must be 2 class ids, got 1"),
        (lambda: judge(torch.zeros(2, 1, 64, 64)), r"images must be \(B, \*\[1, 32, 32\]\), got \[2, 1, 64, 64\]"),
        (lambda: judge(torch.zeros(2, 3, 32, 32)), r"images must be \(B, \*\[1, 32, 32\]\)"),
        (lambda: judge(image, torch.tensor([0, 1])), "labels must be None for a network without classes"),
        (lambda: of_class(image), "labels must be class ids of 0 to 1, got None"),
    ):
        with pytest.raises(ValueError, match=message):
            call()

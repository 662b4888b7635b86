"""DCGAN: a generator and a discriminator of strided convolutions, for images of 32 to 512 pixels a side."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from monai_medaug.core.arguments import choice, number, whole_number
from monai_medaug.networks.weights import load_weights

IMAGE_SIZES = (32, 64, 128, 256, 512)
_BASE = 4  # pixels a side of the smallest features


class DCGANGenerator(nn.Module):
    """Square images from random numbers: transposed convolutions that double the size, with BatchNorm and ReLU.

    A latent vector becomes ``features`` channels of 4×4 pixels; each stage has half as many channels, twice the size
    (100 numbers to 512, 256, 128, 64, 32, 16 and 1 channels at 256²), and the last ends in Tanh: values of -1 to 1.
    Weights start as N(0, 0.02), those of BatchNorm as N(1, 0.02).

    Args:
        latent_dim: numbers of a latent vector, drawn as N(0, 1).
        image_size: pixels a side, 32, 64, 128, 256 or 512.
        out_channels: of the images.
        features: channels of the first stage, at least 16; later ones have at least 8. 64 to 128 train on a CPU.
        num_classes: of images that a label asks for; 0 for images without labels. A label enters as a learned vector
            of ``num_classes`` numbers beside the latent one.

    Attributes:
        value_range: two values, those that -1 and 1 stand for, if it was trained by `train_gan`; kept with its weights.

    Raises:
        ValueError: an argument is out of its range; latent vectors or labels of a call have another shape.

    Source: A. Radford et al., Unsupervised representation learning with deep convolutional generative adversarial
        networks, ICLR 2016.

    Example:
        >>> net = DCGANGenerator(image_size=64, features=64).eval()
        >>> net(torch.randn(2, 100)).shape
        torch.Size([2, 1, 64, 64])
        >>> labelled = DCGANGenerator(image_size=32, features=64, num_classes=2).eval()
        >>> labelled(torch.randn(2, 100), torch.tensor([0, 1])).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(
        self,
        latent_dim: int = 100,
        image_size: int = 256,
        out_channels: int = 1,
        features: int = 512,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.latent_dim = whole_number("latent_dim", latent_dim, 1)
        self.image_size = choice("image_size", image_size, IMAGE_SIZES)
        self.out_channels = whole_number("out_channels", out_channels, 1)
        self.num_classes = whole_number("num_classes", num_classes, 0)
        self.classes = nn.Embedding(self.num_classes, self.num_classes) if self.num_classes else None
        widths = stage_widths(self.image_size, features)
        layers: list[nn.Module] = []
        before = self.latent_dim + self.num_classes
        for place, width in enumerate(widths):
            stride, padding = (2, 1) if place else (1, 0)
            layers += [
                nn.ConvTranspose2d(before, width, 4, stride, padding, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            before = width
        self.stages = nn.Sequential(*layers, nn.ConvTranspose2d(before, self.out_channels, 4, 2, 1), nn.Tanh())
        self.apply(start_as_dcgan)

    def forward(self, latents: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Images (B, out_channels, image_size, image_size) of latent vectors (B, latent_dim) and class ids (B,)."""
        x = latents.flatten(1)
        if x.shape[1] != self.latent_dim:
            raise ValueError(f"latents must be (B, {self.latent_dim}), got {list(latents.shape)}")
        if self.classes is not None:
            x = torch.cat([x, self.classes(checked_ids(labels, x, self.num_classes))], 1)
        elif labels is not None:
            raise ValueError("labels must be None for a network without classes")
        return self.stages(x[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """How real an image looks, as a logit: strided convolutions with LeakyReLU(0.2) and dropout, the stack in reverse.

    There is no sigmoid: its loss takes logits (``BCEWithLogitsLoss``, softplus). With classes the logit grows by the
    product of the image's features and the class's vector (projection).

    Args:
        image_size: pixels a side, 32, 64, 128, 256 or 512.
        in_channels: of the images.
        features: channels of the last stage, at least 16; earlier ones have at least 8.
        num_classes: of the images' labels; 0 for none.
        dropout: share of the features that are dropped in training, within [0, 0.9].
        norm: ``"batch"`` for BatchNorm behind each convolution but the first, as in the paper: on small radiographs it
            learned in a quarter of the steps (with ``dropout=0``). None for none, as in the sketch whose stack this is.

    Raises:
        ValueError: an argument is out of its range; images or labels of a call have another shape.

    Source: A. Radford et al., ICLR 2016; T. Miyato & M. Koyama, cGANs with projection discriminator, ICLR 2018.

    Example:
        >>> DCGANDiscriminator(image_size=64, features=64)(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 1])
    """

    def __init__(
        self,
        image_size: int = 256,
        in_channels: int = 1,
        features: int = 512,
        num_classes: int = 0,
        dropout: float = 0.3,
        norm: str | None = None,
    ) -> None:
        super().__init__()
        self.image_size = choice("image_size", image_size, IMAGE_SIZES)
        self.in_channels = whole_number("in_channels", in_channels, 1)
        self.num_classes = whole_number("num_classes", num_classes, 0)
        share = number("dropout", dropout, 0, 0.9)
        choice("norm", norm, ("batch", None))
        layers: list[nn.Module] = []
        before = self.in_channels
        widths = stage_widths(self.image_size, features)[::-1]
        for width in widths:
            layers.append(nn.Conv2d(before, width, 4, 2, 1))
            if norm is not None and layers[:-1]:
                layers.append(nn.BatchNorm2d(width))
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.Dropout(share)]
            before = width
        self.stages = nn.Sequential(*layers)
        self.judge = nn.Conv2d(before, 1, _BASE)
        self.classes = nn.Embedding(self.num_classes, before) if self.num_classes else None
        self.apply(start_as_dcgan)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, 1) of images (B, in_channels, image_size, image_size) and class ids (B,): high means real."""
        wanted = [self.in_channels, self.image_size, self.image_size]
        if images.dim() != 4 or list(images.shape[1:]) != wanted:
            raise ValueError(f"images must be (B, *{wanted}), got {list(images.shape)}")
        x = self.stages(images)
        logits = self.judge(x).flatten(1)
        if self.classes is not None:
            ids = checked_ids(labels, images, self.num_classes)
            return logits + (self.classes(ids) * x.mean((2, 3))).sum(1, keepdim=True)
        if labels is not None:
            raise ValueError("labels must be None for a network without classes")
        return logits


def stage_widths(image_size: int, features: int) -> list[int]:
    """Channels of each stage of features, from 4×4 pixels on to half of the image's size.

    Example:
        >>> stage_widths(256, 512), stage_widths(32, 64)
        ([512, 256, 128, 64, 32, 16], [64, 32, 16])
    """
    first = whole_number("features", features, 16)
    return [max(first >> place, 8) for place in range((image_size // _BASE).bit_length() - 1)]


def checked_ids(labels: torch.Tensor | None, beside: torch.Tensor, classes: int) -> torch.Tensor:
    """Class ids (B,), as integers.

    Raises:
        ValueError: there are none, another number than of ``beside``, or one is no class.
    """
    if labels is None:
        raise ValueError(f"labels must be class ids of 0 to {classes - 1}, got None")
    ids = labels.to(torch.int64).flatten()
    if ids.shape[0] != beside.shape[0]:
        raise ValueError(f"labels must be {beside.shape[0]} class ids, got {ids.shape[0]}")
    if bool(((ids < 0) | (ids >= classes)).any()):
        raise ValueError(f"labels must be class ids of 0 to {classes - 1}, got {int(ids.min())} to {int(ids.max())}")
    return ids


def start_as_dcgan(layer: nn.Module) -> None:
    """The weights with which a DCGAN starts, for ``network.apply``."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)


def load_generator(file: str | Path) -> DCGANGenerator:
    """The generator whose weights a file holds, in evaluation mode; its structure is read from their shapes.

    Args:
        file: ``weights.safetensors`` of `train_gan`, or another of a `DCGANGenerator`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no weights of a `DCGANGenerator`.

    Example:
        >>> import tempfile
        >>> from monai_medaug.networks import save_weights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(DCGANGenerator(8, 64, features=16, num_classes=2), f"{folder}/net.safetensors")
        ...     net = load_generator(f"{folder}/net.safetensors")
        >>> net.image_size, net.latent_dim, net.num_classes
        (64, 8, 2)
    """
    from safetensors import SafetensorError, safe_open

    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"file must be a file of weights, there is no {path.name}")
    try:
        with safe_open(path, "pt") as opened:
            shapes = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError:
        raise ValueError(f"file must be a safetensors file, {path.name} is none") from None
    placed = {n.split(".")[1]: s for n, s in shapes.items() if n.startswith("stages.") and len(s) == 4}
    kernels = [placed[place] for place in sorted(placed, key=lambda p: (len(p), p))]
    classes = shapes.get("classes.weight", [0])[0]
    size = _BASE << max(len(kernels) - 1, 0)
    if size not in IMAGE_SIZES or kernels[0][0] <= classes or kernels[0][1] < 16:
        raise ValueError(f"file must hold weights of a DCGANGenerator, {path.name} holds others")
    network = DCGANGenerator(kernels[0][0] - classes, size, kernels[-1][1], kernels[0][1], classes)
    return load_weights(network, path).eval()

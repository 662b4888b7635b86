"""How two sets of images lie to each other, in the space of their features and in their spectra."""

from __future__ import annotations

import torch

from monai_medaug.functional.generation.neighbours import standardised


def manifold_share(points: torch.Tensor, of: torch.Tensor, neighbours: int = 3) -> float:
    """Share of points that lie among others: within the distance of one of these to its k-th nearest of its own.

    Of generated images among real ones it is the precision (are they realistic?), of real ones among generated the
    recall (is everything there?).

    Args:
        points: features (P, F).
        of: features (N, F), more than ``neighbours``.
        neighbours: k.

    Raises:
        ValueError: there are too few of the others.

    Source: T. Kynkäänniemi et al., Improved precision and recall metric for assessing generative models, NeurIPS 2019.

    Example:
        >>> others = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> manifold_share(torch.tensor([[0.5], [9.0]]), others, neighbours=1)
        0.5
    """
    if len(of) <= neighbours:
        raise ValueError(f"of must be more than {neighbours} points, got {len(of)}")
    radius = torch.cdist(of, of).kthvalue(neighbours + 1, 1).values  # the first is itself
    return float((torch.cdist(points, of) <= radius).any(1).double().mean())


def mean_distance(points: torch.Tensor) -> float:
    """Mean distance of two different points of a set (N, F).

    Example:
        >>> mean_distance(torch.tensor([[0.0], [1.0], [2.0]]))
        1.3333333333333333
    """
    return float(torch.pdist(points.double()).mean())


def nearest_distance(points: torch.Tensor) -> float:
    """Median distance of a point of a set (N, F) to the nearest other: near 0 where a set repeats itself.

    Example:
        >>> nearest_distance(torch.tensor([[0.0], [1.0], [5.0]]))
        1.0
    """
    apart = torch.cdist(points.double(), points.double()).fill_diagonal_(torch.inf)
    return float(apart.amin(1).median())


def radial_spectrum(images: torch.Tensor) -> torch.Tensor:
    """Mean power of images by spatial frequency in dB: rings of one cycle an image, from 1 to the Nyquist frequency.

    Each image is scaled to mean 0 and standard deviation 1 and multiplied by a Hann window, else its borders would fill
    all frequencies.

    Args:
        images: (B, C, H, W), of 4 pixels a side or more.

    Returns:
        (min(H, W) // 2,), in dB.

    Example:
        >>> wave = torch.cos(torch.arange(32) * (2 * torch.pi * 4 / 32)).expand(1, 1, 32, 32)
        >>> 1 + int(radial_spectrum(wave).argmax())
        4
    """
    height, width = images.shape[2:]
    rows, columns = (torch.hann_window(n, periodic=False, dtype=torch.float64) for n in (height, width))
    power = torch.zeros(height, width, dtype=torch.float64)
    for part in images.split(256):
        seen = standardised(part.double()) * rows[:, None] * columns
        power += torch.fft.fft2(seen).abs().square().sum((0, 1))
    down, right = (torch.fft.fftfreq(n, 1 / min(height, width), dtype=torch.float64) for n in (height, width))
    ring = (down[:, None].square() + right.square()).sqrt().round().to(torch.int64).flatten()
    count = min(height, width) // 2
    kept = (ring >= 1) & (ring <= count)
    total, cells = (
        torch.zeros(count + 1, dtype=torch.float64).index_add_(0, ring[kept], values[kept])[1:]
        for values in (power.flatten(), torch.ones(height * width, dtype=torch.float64))
    )
    return 10 * torch.log10((total / cells / len(images)).clamp_min(1e-12))


def spectrum_distance(made: torch.Tensor, real: torch.Tensor) -> float:
    """Mean difference of the `radial_spectrum` of two sets of images in dB, whatever its sign.

    It sees what features trained to know an image again overlook by design: noise, blur and the mesh that transposed
    convolutions leave.

    Source: R. Durall et al., Watch your up-convolution: CNN based generative deep neural networks are failing to
        reproduce spectral distributions, CVPR 2020.

    Example:
        >>> images = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)).cumsum(2).cumsum(3)
        >>> blurred = torch.nn.functional.avg_pool2d(images, 3, 1, 1)
        >>> spectrum_distance(images, images), spectrum_distance(blurred, images) > 3
        (0.0, True)
    """
    return float((radial_spectrum(made) - radial_spectrum(real)).abs().mean())

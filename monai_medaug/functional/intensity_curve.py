"""A curve of grey values: gamma, contrast about the mean and brightness, on a scale taken from the image."""

from __future__ import annotations

import torch

from monai_medaug.functional.xray.display import robust_range

_LEAST_FLAT = 0.01


def flat_darkest(image: torch.Tensor) -> torch.Tensor:
    """Where images (B, C, *spatial) hold exactly their channel's least value, if that is 1 % of it or more.

    Such an area is no measurement: the padding of a CT, the zeros round a brain, the shutters of a radiograph.

    Example:
        >>> flat_darkest(torch.tensor([[[-3024.0, -3024.0, 5.0, 7.0]]])).tolist()
        [[[True, True, False, False]]]
    """
    values = image.flatten(2)
    flat = values == values.amin(2, keepdim=True)
    return (flat & (flat.float().mean(2, keepdim=True) >= _LEAST_FLAT)).reshape(image.shape)


def curved(image: torch.Tensor, gamma: torch.Tensor, contrast: torch.Tensor, brightness: torch.Tensor) -> torch.Tensor:
    """Grey values ``low + E (c (g(u) - m) + m + b)`` with the share ``u = (x - low) / E`` of the sample's range E.

    The range is `robust_range` of what is not `flat_darkest`, which stays as it is. ``g(u) = u^gamma`` within [0, 1];
    below it g(u) = u and above it ``1 + gamma (u - 1)``, so that no value, negative or beyond the range, is clipped or
    undefined, and the order of values is kept. ``m`` is the mean of g(u) over each channel.

    Args:
        image: (B, C, *spatial).
        gamma: of each sample, (B, 1, ...), above 0; 1 changes nothing.
        contrast: c, likewise.
        brightness: b, likewise, as a share of the range; 0 changes nothing.

    Example:
        >>> one, x = torch.ones(1, 1, 1), torch.tensor([[[-100.0, 0.0, 50.0, 100.0]]])
        >>> curved(x, one, one, 0.1 * one).tolist()
        [[[-100.0, 10.0, 60.0, 110.0]]]
    """
    flat = flat_darkest(image)
    each = (*image.shape[:2], *[1] * (image.ndim - 2))
    least = torch.where(flat, torch.inf, image).flatten(2).amin(2).reshape(each)
    rest = torch.where(flat & least.isfinite(), least, image)
    low, high = robust_range(rest).reshape(-1, 2, *[1] * (image.ndim - 1)).unbind(1)
    extent = high - low
    share = (image - low) / torch.where(extent > 0, extent, torch.ones_like(extent))
    bent = share.clamp(0, 1) ** gamma + share.clamp_max(0) + gamma * (share - 1).clamp_min(0)
    seen = ~flat
    count = seen.flatten(2).sum(2).clamp_min(1)
    mean = (bent * seen).flatten(2).sum(2).div(count).reshape(each)
    change = (bent - share) + (contrast - 1) * (bent - mean) + brightness
    return torch.where(flat, image, torch.addcmul(image, change, extent))

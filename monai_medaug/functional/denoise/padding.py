"""Padding outside the reconstructed circle of a CT, which the denoisers leave out."""

from __future__ import annotations

import torch

from monai_medaug.functional.hounsfield import PADDING_HU

_LEAST_PADDED = 8  # voxels of the least value: in a signed image without padding hardly two are equal


def padding_of(image: torch.Tensor) -> torch.Tensor | None:
    """Where images (N, 1, *spatial) are padding, a mask of their shape; None if no voxel is.

    Padding lies at or below -1400 HU, as -2048 or -3024 do, and its least value repeats. An image of padding alone
    counts as having none.

    Example:
        >>> image = torch.tensor([-3024.0] * 8 + [40.0, 50.0]).reshape(1, 1, 2, 5)
        >>> padding_of(image).int().sum(), padding_of(image + 2000)
        (tensor(8), None)
    """
    least = image.flatten(1).amin(1)
    found: torch.Tensor | None = None
    for n in (least <= PADDING_HU).nonzero().flatten().tolist():
        padded = image[n] <= PADDING_HU
        if int((image[n] == least[n]).sum()) >= _LEAST_PADDED and not bool(padded.all()):
            found = torch.zeros_like(image, dtype=torch.bool) if found is None else found
            found[n] = padded
    return found


def padding_filled(image: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """Images with each padded voxel replaced by a nearest valid one, as filters repeat the image's border.

    Args:
        image: (N, 1, *spatial).
        padding: of the same shape, see `padding_of`.

    Example:
        >>> image = torch.tensor([[[[-3024.0, -3024.0, 7.0, 9.0]]]])
        >>> padding_filled(image, image < -1400)
        tensor([[[[7., 7., 7., 9.]]]])
    """
    from scipy.ndimage import distance_transform_edt

    out = image.clone()
    for own, padded in zip(out[:, 0], padding[:, 0], strict=True):
        if bool(padded.any()):
            nearest = distance_transform_edt(padded.cpu().numpy(), return_distances=False, return_indices=True)
            index = [torch.from_numpy(i[padded.cpu().numpy()]).to(own.device) for i in nearest]
            own[padded] = own[tuple(index)]
    return out

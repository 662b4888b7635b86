"""Whole scans restored by the networks of the bundles, for ``monai-medaug restore``."""

from __future__ import annotations

import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.bundles import load_pretrained
from monai_medaug.core.arguments import choice
from monai_medaug.core.tensors import affine_of
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.upscale import cubic_resized
from monai_medaug.scans.files import Scan
from monai_medaug.transforms.ct.units import require_hu
from monai_medaug.transforms.network_restore import NetworkRestore

NETWORKS = {"dncnn": "denoise_dncnn", "sr": "sr"}
"""The bundles' names by method, but for the modality."""
_SLAB_VOXELS = 8 << 20


def weights_for(method: str, scan: Scan, is_ct: bool) -> str:
    """The bundle for a method and a scan.

    Raises:
        ValueError: the method is unknown, there are no weights for the scan's modality, or a CT is not in HU.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> from monai_medaug.scans import read_scan
        >>> weights_for("sr", read_scan(get_testdata_file("CT_small.dcm", download=False)), True)
        'ct_sr'
    """
    kind = NETWORKS[choice("method", method, tuple(NETWORKS))]
    if scan.placement == "none" or scan.modality not in ("CT", "MR", None):
        what = "a picture without units" if scan.modality is None else f"the modality {scan.modality}"
        raise ValueError(f"the method {method} has weights for CT and MR, and none for {what}")
    if is_ct:
        require_hu(scan.image.as_tensor(), "the scan")
    return f"{'ct' if is_ct else 'mri'}_{kind}"


def network_restored_scan(
    image: MetaTensor, name: str, scale: float | None = None, strength: float = 1.0, progress: bool = False
) -> tuple[MetaTensor, MetaTensor]:
    """A scan restored by a bundle's network, and what to compare it with.

    A CT, whose units are fixed, goes through in slabs of slices, so that the working memory doesn't grow with it.

    Args:
        image: MetaTensor (1, X, Y) or (1, X, Y, Z).
        name: of the bundle, see `load_pretrained`.
        scale: of a super-resolution, from above 1 to 64; None for a denoiser.
        strength: share of the change that is made, 0 to 1.
        progress: show a progress bar.

    Returns:
        The result, and on its grid the image: itself, or its cubic interpolation.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.
    """
    from tqdm import tqdm

    restore = NetworkRestore(load_pretrained(name), scale=scale, strength=strength)
    grid = VoxelGrid(tuple(image.shape[1:]), affine_of(image))
    across = grid.slice_axis(1) if image.ndim == 4 and restore.value_range != "percentile" else None
    if across is None:
        parts, axis = [restore(image)], 0
    else:
        axis, slices = across + 1, image.shape[across + 1]
        thick = max(1, _SLAB_VOXELS * slices // image.numel())
        starts = tqdm(range(0, slices, thick), desc="restoring", unit="slab", disable=not progress)
        parts = [restore(image.narrow(axis, k, min(thick, slices - k))) for k in starts]
    values = torch.cat([part.as_tensor() for part in parts], axis)
    new = grid.resized(values.shape[1:])
    before = image.as_tensor()
    if values.shape != image.shape:
        before = cubic_resized(before[None], list(values.shape[1:]))[0]
    affine = torch.tensor(new.affine, dtype=torch.float64)
    return MetaTensor(values, affine=affine), MetaTensor(before, affine=affine)

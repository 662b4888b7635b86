"""Whether a mask lies where its image lies: in world coordinates, with a word about headers that differ."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.tensors import say_once
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.scans.error import ScanError
from monai_medaug.scans.nifti import EQUAL_VOXELS

if TYPE_CHECKING:
    from monai_medaug.scans.files import Scan

_DOUBTS = {
    "guessed": "states no position, so that its place is a guess",
    "disputed": "states two places, by sform and qform, of which the sform counts",
}


def placed_labels(scan: Scan, labels: Scan, what: str = "the mask file") -> Scan:
    """Labels at their place on an image: by world coordinates, and voxel by voxel where one file has no geometry.

    A header that differs from the image's although the shape is equal is said by a notice: it may be wrong.

    Args:
        scan: the image.
        labels: read with ``labels=True``; the grid may differ from the image's.
        what: name of the labels for messages.

    Returns:
        The labels; with the image's geometry if they or the image are a PNG, JPEG or TIFF.

    Raises:
        ScanError: as `require_same_place`, or one has no geometry and the shapes differ.
    """
    if scan.placement != "none" and labels.placement != "none":
        require_same_place(scan, labels, what)
        return labels
    if labels.image.shape != scan.image.shape:
        shapes = [tuple(s.image.shape[1:]) for s in (scan, labels)]
        raise ScanError(
            f"{what} must have the shape {shapes[0]} of the input, since one of them has no geometry, got {shapes[1]}"
        )
    if scan.placement != labels.placement:
        bare = "the input" if scan.placement == "none" else what
        say_once(f"{bare} has no geometry of its own: {what} and the input lie on each other pixel by pixel")
    image = MetaTensor(labels.image.as_tensor(), affine=scan.image.affine)
    return replace(labels, image=image, header=scan.header, shape=scan.shape, placement=scan.placement)


def require_same_place(scan: Scan, labels: Scan, what: str = "the mask file") -> None:
    """Raise if most labels lie outside the image, since they belong to another scan or lack their affine.

    A notice says where the shapes are equal and the headers differ by a quarter voxel or more, and where a file without
    a position lies elsewhere.

    Args:
        scan: the image.
        labels: read with ``labels=True``; the grid may differ from the image's.
        what: name of the labels for messages.

    Raises:
        ScanError: the numbers of axes differ, or more than half of the labelled voxels lie outside.
    """
    if labels.image.ndim != scan.image.ndim:
        raise ScanError(f"{what} must have {scan.image.ndim - 1} axes as the input has, got {labels.image.ndim - 1}")
    grid, own = (VoxelGrid(tuple(s.image.shape[1:]), s.image.affine.tolist()) for s in (scan, labels))
    if grid.shape == own.shape and (grid.displaced_from(own) < EQUAL_VOXELS).all():
        return
    differences = header_differences(grid, own) if grid.shape == own.shape else ""
    doubts = [
        f"{name} {_DOUBTS[s.placement]}" for name, s in (("the input", scan), (what, labels)) if s.placement in _DOUBTS
    ]
    outside = _share_outside(labels, grid, own)
    if outside > 0.5:
        reasons = [*([f"of equal shapes, the headers differ: {differences}"] if differences else []), *doubts]
        raise ScanError(
            f"{what} does not match the input: {outside:.0%} of its labels lie outside in world coordinates"
            + "".join(f"; {reason}" for reason in reasons)
        )
    if differences:
        say_once(
            f"ATTENTION: {what} has the input's shape but another header ({differences}). It is placed by its header, "
            "in world coordinates; if it was drawn on this input voxel by voxel, give it the input's header"
            + "".join(f"; {doubt}" for doubt in doubts)
        )
    elif "guessed" in (scan.placement, labels.placement):
        say_once(f"ATTENTION: {what} is placed on the input by world coordinates, but {'; '.join(doubts)}")


def _share_outside(labels: Scan, grid: VoxelGrid, own: VoxelGrid) -> float:
    """The share of labelled voxels outside a grid; 0 without labels."""
    index = labels.image[0].as_tensor().nonzero().numpy()
    if len(index) == 0:
        return 0.0
    to_image = (np.linalg.inv(grid.matrix) @ own.matrix)[-index.shape[1] - 1 : -1, -index.shape[1] - 1 :]
    position = index @ to_image[:, :-1].T + to_image[:, -1]
    return 1 - float(((position > -1) & (position < grid.shape)).all(axis=1).mean())


def header_differences(grid: VoxelGrid, other: VoxelGrid) -> str:
    """What differs between two grids of equal shape, in words.

    Example:
        >>> header_differences(VoxelGrid((9, 9, 9), np.eye(4)), VoxelGrid((9, 9, 9), np.diag([-1, 1, 2, 1])))
        'voxels of 1 × 1 × 2 mm, not 1 × 1 × 1; axis 1 flipped; centre 8.94 mm away'
    """
    axes, said = len(grid.shape), []
    sizes = np.array([g.spacing for g in (other, grid)])
    if (np.abs(sizes[0] / sizes[1] - 1) * grid.shape > EQUAL_VOXELS).any():
        said.append("voxels of {} mm, not {}".format(*(" × ".join(f"{s:.4g}" for s in size) for size in sizes)))
    directions = [(g.matrix[:3, :3] / g.embedded_spacing)[:, -axes:] for g in (other, grid)]
    cosines = directions[0].T @ directions[1]
    nearest = np.abs(cosines).argmax(axis=1)
    if list(nearest) != list(range(axes)):
        said.append(f"axes in the order {', '.join(str(n + 1) for n in nearest)}")
    flipped = [str(a + 1) for a, n in enumerate(nearest) if cosines[a, n] < 0]
    if flipped:
        said.append(f"ax{'i' if len(flipped) == 1 else 'e'}s {', '.join(flipped)} flipped")
    turned = np.arccos(np.clip(np.abs(cosines).max(axis=1).min(), 0, 1))
    if turned * max(grid.shape) > EQUAL_VOXELS:
        said.append(f"turned by {np.rad2deg(turned):.3g}°")
    away = np.linalg.norm(other.centre - grid.centre)
    if away > EQUAL_VOXELS * min(grid.spacing):
        said.append(f"centre {away:.3g} mm away")
    return "; ".join(said) or "its corners lie elsewhere"

"""Geometry: an affine and elastic map without folds, in one resampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from monai_medaug.core.arguments import choice, interpolation, number, padding, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.lattice import ROTATIONS, rotation_axis, shear_axes
from monai_medaug.functional.geometry.maps import AnatomyMaps, PointMap, anatomy_maps, point_map


def _only(part: str) -> dict[str, Any]:
    """Arguments that switch off all parts but one; the elastic one is as smooth as in the presets."""
    parts = ("rotate_degrees", "translate_fraction", "shear_degrees", "scale_fraction", "elastic_mm")
    others: dict[str, Any] = {name: 0 for name in parts if name != part}
    smooth = {"elastic_sigma": 25, "elastic_unit": "mm"} if part == "elastic_mm" else {}
    return {**others, "rotate_axis": "automatic", **smooth}


class RandAffineElastic(RandomOperation):
    """Rotation, scaling, translation and elastic deformation in one resampling, without folds.

    A voxel at world position w takes the value at ``A(phi(w))``. ``A`` undoes scaling and rotation, and a shear if
    wanted, about the centre of the reference grid, then a translation. ``phi = exp(s v)`` is the flow of a smooth
    random velocity field ``v = alpha * gaussian_filter(uniform(-1, 1), sigma)``, integrated by scaling and squaring
    (Arsigny et al. 2006). At every voxel of the reference grid the Jacobian determinant of the whole map is at least
    ``min_jacobian``: the field is reduced where it would fall below, and the record holds the share kept. The inverse
    is the flow along -v, refined by Newton's method on a lattice twice as dense to about 0.1 voxel; points move
    exactly. All geometry is in mm through the affine. The output keeps the input's grid and affine; the anatomy moves
    in it. Nothing is interpolated between the padding of a CT (coherent values up to -1400 HU) and tissue: the nearest
    value is taken.

    Args:
        prob: probability of applying it.
        rotate_degrees: angle about the axis, see ``rotate_axis``; in 2D about the plane's normal. 5 means (-5, 5).
        translate_fraction: translation along each grid axis as a share of the field of view; 0.05 means (-0.05, 0.05).
        scale_fraction: isotropic scaling by 1 + this; 0.1 means (-0.1, 0.1), positive enlarges the anatomy.
        elastic_alpha: amplitude of the velocity field, a number or a range; 0 switches the elastic part off. At sigma 8
            an alpha of 1000 means 29 px RMS in 2D, of which the determinant allows 6, and 6.6 px in 3D, of which it
            allows 5.5. RMS grows with sigma.
        elastic_sigma: correlation length of the field.
        elastic_mm: RMS length of the elastic displacement in mm, a number or a range, at most about 0.6 sigma. Replaces
            alpha, whose effect depends on sigma and the number of axes.
        elastic_unit: unit of alpha and sigma: ``"voxel"``, the finest spacing of the reference grid, or ``"mm"``.
        min_jacobian: least determinant, in (0, 1); the elastic part alone also stays below its reciprocal.
        mode: ``"bilinear"`` (trilinear in 3D) for images, ``"nearest"`` marks a mask, whose labels are only copied.
            MONAI's enums, its other names such as ``"trilinear"`` and the orders 1 and 0 mean the same.
        padding_mode: ``"border"``, ``"zeros"``, ``"reflection"``, a number, such as -1000 for HU, or ``"darkest"`` or
            ``"brightest"``, the least or greatest value of the image; masks then get 0. ``"air"`` for a CT in HU and
            ``"background"`` for any other image take what the image has on its border, and masks get 0, unless the
            border of the first image cuts the body: then all repeat it, as they do along an axis where the body leaves
            both faces. A one-hot mask gets its first
            class outside, which is the background, where others get 0. An inverse fills with such a value only the
            image that was filled with it; predictions and masks get 0.
        rotate_axis: None: a random axis. ``"slice"``: the normal of the slices, which lie across the axis of the widest
            spacing. ``"automatic"``: the same where they lie at least three times as far apart as the voxels within
            them, since a tilt interpolates between such slices, else a random axis.
        shear_degrees: angle by which lines along one grid axis, drawn, tilt toward another; volumes stay. 5 means
            (-5, 5), 0 is none. Tissue does not shear: this is for policies, and for gantry tilt.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: A. Arsigny et al., A Log-Euclidean Framework for Statistics on Diffeomorphisms, MICCAI 2006; P. Simard et
    al., Best Practices for Convolutional Neural Networks, ICDAR 2003 (the elastic field).

    Example:
        >>> import torch
        >>> deform = RandAffineElastic(prob=1.0)
        >>> out = deform.set_random_state(0)(torch.rand(1, 64, 64, 40))
        >>> out.shape
        torch.Size([1, 64, 64, 40])
    """

    gallery = GalleryEntry(
        ({"rotate_degrees": (4, 5), "elastic_mm": (3, 4), "elastic_sigma": 20, "elastic_unit": "mm"},),
        "The elastic part is as smooth as in the standard preset: organs move, bones keep their shape.",
    )
    phrases = {
        "rotate_degrees": "rotated by {:.1f}°",
        "shear_degrees": "sheared by {:.1f}°",
        "scale": "scaled by {:.3f}",
        "translate_fraction": "translated by {:.1%} and {:.1%} of the field",
        "displacement_rms_mm": "moved by {:.1f} mm RMS",
        "displacement_max_mm": "moved by at most {:.1f} mm",
        "elastic_mm": "elastic part of {:.1f} mm RMS requested",
        "elastic_strength": "elastic part at {:.0%}",
        "elastic_rms_mm": "elastic part {:.1f} mm RMS",
        "min_det_j": "least Jacobian determinant {:.2f}",
    }
    headline = (
        *("rotate_degrees", "scale", "displacement_rms_mm", "displacement_max_mm"),
        *("elastic_rms_mm", "min_det_j"),
    )
    geometric = True
    variants = ({}, {"shear_degrees": 10})
    identity = {
        "rotate_degrees": 0.0,
        "shear_degrees": 0.0,
        "translate_fraction": [0.0] * 3,
        "scale": 1.0,
        "elastic_strength": 0.0,
    }
    magnitudes = (
        Magnitude("rotate", {"rotate_degrees": Reach(0, 30, "signed")}, _only("rotate_degrees"), "°"),
        Magnitude("translate", {"translate_fraction": Reach(0, 0.1, "signed")}, _only("translate_fraction")),
        Magnitude("shear", {"shear_degrees": Reach(0, 15, "signed")}, _only("shear_degrees"), "°"),
        Magnitude("scale", {"scale_fraction": Reach(0, 0.2, "signed")}, _only("scale_fraction")),
        Magnitude("elastic", {"elastic_mm": Reach(0, 5)}, _only("elastic_mm"), "mm"),
    )

    def __init__(
        self,
        prob: float = 0.8,
        rotate_degrees: float | Sequence[float] = 5,
        translate_fraction: float | Sequence[float] = 0.05,
        scale_fraction: float | Sequence[float] = 0.1,
        elastic_alpha: float | Sequence[float] = 1000,
        elastic_sigma: float = 8,
        min_jacobian: float = 0.2,
        mode: str | int = "bilinear",
        padding_mode: str | float = "border",
        elastic_unit: str = "voxel",
        elastic_mm: float | Sequence[float] | None = None,
        rotate_axis: str | None = None,
        shear_degrees: float | Sequence[float] = 0,
    ) -> None:
        super().__init__(prob)
        self.rotate_degrees = span("rotate_degrees", rotate_degrees, -180, 180, signed=True)
        self.translate_fraction = span("translate_fraction", translate_fraction, -1, 1, signed=True)
        self.scale_fraction = span("scale_fraction", scale_fraction, -0.9, 9, signed=True)
        self.elastic_alpha = span("elastic_alpha", elastic_alpha, 0)
        self.elastic_mm = None if elastic_mm is None else span("elastic_mm", elastic_mm, 0)
        self.elastic_sigma = number("elastic_sigma", elastic_sigma, 1e-3)
        self.min_jacobian = number("min_jacobian", min_jacobian, 1e-3, 0.95)
        if (1 + self.scale_fraction[1]) ** -3 < self.min_jacobian:
            raise ValueError(
                f"scale_fraction must leave the volume factor (1 + scale)^-3 above min_jacobian {min_jacobian}, "
                f"got {scale_fraction!r}"
            )
        self.elastic_unit = choice("elastic_unit", elastic_unit, ("voxel", "mm"))
        self.rotate_axis = choice("rotate_axis", "random" if rotate_axis is None else rotate_axis, ROTATIONS)
        self.shear_degrees = span("shear_degrees", shear_degrees, -60, 60, signed=True)
        self.mode = interpolation("mode", mode)
        self.padding_mode = padding("padding_mode", padding_mode)

    def __call__(  # type: ignore[override]
        self,
        img: Any,
        *,
        mode: str | int | None = None,
        padding_mode: str | float | None = None,
        randomize: bool = True,
        lazy: bool | None = None,
    ) -> Any:
        """Apply to one channel-first image (C, H, W) or (C, D, H, W).

        Args:
            img: the image or mask.
            mode: of this call instead of the constructor's.
            padding_mode: of this call instead of the constructor's.
            randomize: False repeats the last draw, also one that skipped the call.
            lazy: for MONAI's calls; the map is not affine, so that it is always carried out at once.

        Raises:
            RuntimeError: ``randomize=False`` before the first draw.
        """
        return self.apply_to(img, "img", {}, randomize, mode, padding_mode)

    def draw(self) -> Params:
        axis = self.R.normal(size=3)
        if self.elastic_mm is None:
            amplitude = {"elastic_alpha": self.R.uniform(*self.elastic_alpha)}
        else:
            amplitude = {"elastic_mm": self.R.uniform(*self.elastic_mm)}
        shear: Params = {}
        if any(self.shear_degrees):  # else the draws stay those of versions without it
            first, second = self.R.permutation(3)[:2].tolist()
            shear = {"shear_degrees": self.R.uniform(*self.shear_degrees), "shear_axes": [first, second]}
        return {
            "rotate_degrees": self.R.uniform(*self.rotate_degrees),
            "rotate_axis": (axis / np.linalg.norm(axis)).tolist(),
            "translate_fraction": self.R.uniform(*self.translate_fraction, size=3).tolist(),
            "scale": 1 + self.R.uniform(*self.scale_fraction),
            **shear,
            **amplitude,
            "elastic_strength": 1.0,
            "seed": int(self.R.randint(2**31 - 1)),
        }

    def settings(self) -> Params:
        names = ("elastic_sigma", "elastic_unit", "min_jacobian")
        return {"rotate_about": self.rotate_axis, **{name: getattr(self, name) for name in names}}

    @classmethod
    def plan(cls, call: Call) -> AnatomyMaps:
        maps = cls.recorded(call, None)
        return anatomy_maps(maps, call.grids, call.image.device, call.known, call.inverse)

    @classmethod
    def recorded(cls, call: Call, plan: AnatomyMaps | None) -> list[Params]:
        about = call.settings.get("rotate_about", "random")  # records of the first version lack it
        return [
            {
                **draw,
                **call.settings,
                "rotate_axis": rotation_axis(grid, about, draw["rotate_axis"]),
                **({"shear_axes": shear_axes(grid, about, draw["shear_axes"])} if "shear_axes" in draw else {}),
            }
            for draw, grid in zip(call.draws, call.grids, strict=True)
        ]

    @classmethod
    def figures(cls, plan: AnatomyMaps) -> list[Params]:
        return plan.figures

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        mask = call.mode == "nearest"
        of_images = ("darkest", "brightest")
        each = call.padding if isinstance(call.padding, list) else [call.padding] * len(image)
        paddings = ["zeros" if mask and p in of_images else p for p in each]
        out = call.plan.warp(image, call.grids, call.mode, paddings)
        if mask and any(p in ("zeros", 0) or isinstance(p, dict) for p in paddings) and _is_one_hot(image):
            out[:, 0].masked_fill_((out == 0).all(1), 1)  # outside is background
        return out

    @classmethod
    def point_map(cls, params: Params, known: Params, grid: VoxelGrid, inverse: bool = False) -> PointMap:
        return point_map(params, known, grid, inverse)


def _is_one_hot(masks: torch.Tensor) -> bool:
    """Whether each voxel of masks (B, C, *spatial) has exactly one class, 1 in its channel."""
    if masks.shape[1] == 1:
        return False
    member = masks == 1
    return bool((member.sum(1) == 1).all() and (member == (masks != 0)).all())


RandAffineElasticd = dictionary_twin(RandAffineElastic)
RandAffineElasticD = RandAffineElasticDict = RandAffineElasticd

"""Lines of k-space acquired in different rigid poses of the patient, and the image that they make when moved back.

A pose moves the anatomy by ``r' = R r + t`` about the centre of the field of view. A translation is a phase ramp of
k-space. A rotation is a product of plane rotations, each of three shears, and a shear shifts every row of the image by
a phase ramp (Unser, Thévenaz and Yaroslavsky 1995): each step keeps the energy and can be undone exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import torch

from monai_medaug.functional.acceleration import elements_at_once, sent

_TURN = 2 * math.pi


@dataclass(frozen=True)
class SegmentedKSpace:
    """k-space split into segments of phase-encoding lines: that axis first, each in the order of `torch.fft`.

    A pose is a tensor of `pose_size` numbers: a translation along each axis in mm, then an angle in radians in each of
    the `planes`. The rotation is ``R = R_1 R_2 …`` in their order.

    Attributes:
        lines: of each segment, (C, its lines, *other axes).
        places: of these lines along the phase-encoding axis, on the host.
        shape: of the whole k-space, (phase-encoding axis, *others).
        steps: mm between the voxels of its image along each axis.
        centre: about which the anatomy turns, in mm from the first voxel along each axis.

    Example:
        >>> import torch
        >>> image = torch.zeros(1, 8, 8, dtype=torch.complex64)
        >>> image[0, 3, 3] = 1
        >>> k = SegmentedKSpace.of(torch.fft.fft2(image), [range(8)], (1.0, 1.0))
        >>> back = k.image(torch.tensor([[2.0, 1.0, 0.0]]), turns=False)  # it had moved by 2 and 1 mm
        >>> bool(back[0, 1, 2].abs() > 0.999)
        True
    """

    lines: Sequence[torch.Tensor]
    places: Sequence[np.ndarray]
    shape: tuple[int, ...]
    steps: tuple[float, ...]
    centre: tuple[float, ...]

    @classmethod
    def of(cls, kspace: torch.Tensor, segments: Sequence[Sequence[int]], spacing: Sequence[float]) -> SegmentedKSpace:
        """Split a k-space (C, phase-encoding axis, *others) in the order of `torch.fft`."""
        places = [np.asarray(s, np.int64) for s in segments]
        shape = tuple(kspace.shape[1:])
        centre = tuple((n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True))
        lines = [kspace.index_select(1, sent(p, kspace.device, torch.int64)) for p in places]
        return cls(lines, places, shape, tuple(spacing), centre)

    @property
    def planes(self) -> list[tuple[int, int]]:
        """The pairs of axes in which the anatomy turns."""
        return _planes(len(self.shape))

    @property
    def pose_size(self) -> int:
        return len(self.shape) + len(self.planes)

    @cached_property
    def placed(self) -> list[torch.Tensor]:
        """`places`, on the device of the lines."""
        return [sent(p, self.lines[0].device, torch.int64) for p in self.places]

    def cropped(self, kept: Sequence[int], chosen: Sequence[int] | None = None) -> SegmentedKSpace:
        """The central frequencies along each axis, for an image of coarser voxels; of some segments."""
        kept = [min(k, n) for k, n in zip(kept, self.shape, strict=True)]
        n, k = self.shape[0], kept[0]
        lines, places = [], []
        for j in range(len(self.lines)) if chosen is None else chosen:
            signed = signed_frequency(self.places[j], n)
            inside = np.flatnonzero((signed >= -(k // 2)) & (signed < (k + 1) // 2))
            line = self.lines[j].index_select(1, sent(inside, self.lines[j].device, torch.int64))
            for axis in range(1, len(kept)):
                line = _central(line, axis + 1, kept[axis])
            lines.append(line)
            places.append(signed[inside] % k)
        steps = tuple(s * n / k for s, n, k in zip(self.steps, self.shape, kept, strict=True))
        return SegmentedKSpace(lines, places, tuple(kept), steps, self.centre)

    def image(self, poses: torch.Tensor, turns: bool) -> torch.Tensor:
        """The image (C, *shape) of all segments moved back by their poses (segments, `pose_size`).

        Without ``turns`` the angles count as 0.
        """
        total = self.moved_back(0, poses[0], turns)
        for j in range(1, len(self.lines)):
            total += self.moved_back(j, poses[j], turns)
        return torch.fft.ifft(total, dim=1)

    def moved_back(self, j: int, pose: torch.Tensor, turns: bool, line: torch.Tensor | None = None) -> torch.Tensor:
        """Segment j as if acquired at rest: (C, *shape), in k-space along the first axis, in image space else.

        ``line`` stands for its lines.
        """
        line = self.lines[j] if line is None else line
        line = torch.fft.ifftn(line * self._ramp(j, pose), dim=tuple(range(2, line.ndim)))
        if not turns:
            return self._spread(line, j)
        shears = self._shears(pose)
        axis, along, factor = shears[0]  # along the phase-encoding axis: on the segment's lines alone
        line = line * self._shear(self._own_frequencies[j], axis, along, -factor)
        whole = torch.fft.ifft(self._spread(line, j), dim=1)
        for axis, along, factor in shears[1:-1]:
            whole = self._sheared(whole, axis, along, -factor)
        axis, along, factor = shears[-1]
        whole = self._sheared(whole, axis, along, -factor, back=axis != 0)
        return whole if axis == 0 else torch.fft.fft(whole, dim=1)

    def acquired(self, image: torch.Tensor, j: int, pose: torch.Tensor, turns: bool) -> torch.Tensor:
        """The lines of segment j of an image (C, *shape) in a pose: the adjoint and inverse of `moved_back`."""
        if turns:
            shears = self._shears(pose)
            for axis, along, factor in reversed(shears[1:]):
                image = self._sheared(image, axis, along, factor)
        line = torch.fft.fft(image, dim=1).index_select(1, self.placed[j])
        if turns:
            axis, along, factor = shears[0]
            line = line * self._shear(self._own_frequencies[j], axis, along, factor)
        return torch.fft.fftn(line, dim=tuple(range(2, line.ndim))) * self._ramp(j, pose).conj()

    def channel(self, c: int) -> SegmentedKSpace:
        """One of the channels."""
        lines = [line[c : c + 1] for line in self.lines]
        return SegmentedKSpace(lines, self.places, self.shape, self.steps, self.centre)

    def mixed(self, mixture: torch.Tensor) -> SegmentedKSpace:
        """The same with other channels, ``mixture @ channels``."""
        lines = [torch.tensordot(mixture, line, 1) for line in self.lines]
        return SegmentedKSpace(lines, self.places, self.shape, self.steps, self.centre)

    def pose_slopes(
        self, parts: Sequence[torch.Tensor], poses: torch.Tensor, slope: torch.Tensor, turns: bool
    ) -> torch.Tensor:
        """Derivative of a number by the poses (segments, `pose_size`), from its derivative by the image.

        To move a segment a little farther is to move its part of the image at rest: along an axis, by that part's
        derivative, and in a plane, by the derivative along circles. The adjoint of these acts once on ``slope``,
        and what remains is a scalar product with each part; so it costs little beside the parts.

        Args:
            parts: `moved_back` of each segment.
            poses: with which they were.
            slope: derivative by the real part of `image`, plus i times that by the imaginary part.
            turns: whether the angles count.
        """
        dims = len(self.shape)
        along = [self._differentiated(slope, axis) for axis in range(dims)]
        fields = [-d for d in along]
        if turns:
            places = self._positions
            fields += [places[b] * along[a] - places[a] * along[b] for a, b in self.planes]
        spectra = torch.stack([torch.view_as_real(torch.fft.fft(f, dim=1)).flatten() for f in fields])
        own = torch.stack([spectra @ torch.view_as_real(part).flatten() for part in parts]) / self.shape[0]
        found = torch.zeros_like(poses)
        if not turns:
            found[:, :dims] = own
            return found
        for j, pose in enumerate(poses):
            found[j, :dims] = self.rotation(pose) @ own[j, :dims]
            found[j, dims:] = self._plane_mixture(pose) @ own[j, dims:]
        return found

    def rotation(self, pose: torch.Tensor) -> torch.Tensor:
        """The matrix R of a pose."""
        return rotation(pose, len(self.shape))

    def _plane_mixture(self, pose: torch.Tensor) -> torch.Tensor:
        """How much each angle turns the anatomy at rest in each plane: a row for each angle."""
        rows, after = [], torch.eye(len(self.shape), dtype=pose.dtype, device=pose.device)
        turns = plane_rotations(pose, len(self.shape))
        for (a, b), one in reversed(list(zip(self.planes, turns, strict=True))):
            quarter = torch.zeros_like(after)
            quarter[b, a], quarter[a, b] = 1.0, -1.0
            seen = after.T @ quarter @ after
            rows.append(torch.stack([seen[d, c] for c, d in self.planes]))
            after = one @ after
        return torch.stack(rows[::-1])

    def _differentiated(self, image: torch.Tensor, axis: int) -> torch.Tensor:
        frequency = _along(self._frequencies[axis], axis, len(self.shape))
        return torch.fft.ifft(torch.fft.fft(image, dim=axis + 1) * (_TURN * 1j * frequency), dim=axis + 1)

    def _shears(self, pose: torch.Tensor) -> list[tuple[int, int, torch.Tensor]]:
        """Axis, the axis along which its shift grows, and shift per length, of a pose undone: to be negated."""
        found = []
        for (a, b), angle in zip(self.planes, pose[len(self.shape) :], strict=True):
            outer, inner = -torch.tan(angle / 2), torch.sin(angle)
            found += [(a, b, outer), (b, a, inner), (a, b, outer)]
        return found

    def _ramp(self, j: int, pose: torch.Tensor) -> torch.Tensor:
        """Ramps on the lines of a segment that undo the translation."""
        count = len(self.shape)
        frequencies = [self._own_frequencies[j], *self._frequencies[1:]]
        ramps = [_along(_turned(_TURN * f * pose[axis]), axis, count) for axis, f in enumerate(frequencies)]
        return math.prod(ramps[1:], start=ramps[0])

    def _spread(self, line: torch.Tensor, j: int) -> torch.Tensor:
        return line.new_zeros((line.shape[0], *self.shape)).index_copy(1, self.placed[j], line)

    @cached_property
    def _frequencies(self) -> list[torch.Tensor]:
        """Of k-space along each axis, in cycles per mm."""
        like = self.lines[0]
        each = [np.fft.fftfreq(n, step) for n, step in zip(self.shape, self.steps, strict=True)]
        return [sent(values, like.device, like.real.dtype) for values in each]

    @cached_property
    def _own_frequencies(self) -> list[torch.Tensor]:
        """Those of the lines of each segment along the phase-encoding axis."""
        return [self._frequencies[0].index_select(0, places) for places in self.placed]

    @cached_property
    def _positions(self) -> list[torch.Tensor]:
        """Place of each voxel from the centre along each axis, in mm."""
        like, found = self.lines[0], []
        for axis, (n, step, middle) in enumerate(zip(self.shape, self.steps, self.centre, strict=True)):
            place = sent(np.arange(n) * step - middle, like.device, like.real.dtype)
            found.append(_along(place, axis, len(self.shape)))
        return found

    def _shear(self, frequency: torch.Tensor, axis: int, along: int, factor: torch.Tensor) -> torch.Tensor:
        """Ramps of these frequencies that shift along an axis by ``factor`` times the position along another."""
        cycles = _along(frequency, axis, len(self.shape)) * self._positions[along]
        return _turned(-_TURN * factor * cycles)

    def _sheared(
        self, image: torch.Tensor, axis: int, along: int, factor: torch.Tensor, back: bool = True
    ) -> torch.Tensor:
        ramp = self._shear(self._frequencies[axis], axis, along, factor)
        if image.numel() <= elements_at_once(image.device):
            out = torch.fft.fft(image, dim=axis + 1) * ramp
            return torch.fft.ifft(out, dim=axis + 1) if back else out
        whole = torch.empty_like(image)  # in slabs, for large volumes
        others = [a for a in range(image.ndim) if a not in (axis + 1, along + 1)]
        split = max(others, key=lambda a: image.shape[a])
        at_once = max(1, image.shape[split] * elements_at_once(image.device) // image.numel())
        for slab, target in zip(image.split(at_once, split), whole.split(at_once, split), strict=True):
            out = torch.fft.fft(slab, dim=axis + 1) * ramp
            target.copy_(torch.fft.ifft(out, dim=axis + 1) if back else out)
        return whole


def rotation(pose: torch.Tensor, dims: int) -> torch.Tensor:
    """The matrix R of a pose in 2D or 3D.

    Example:
        >>> rotation(torch.tensor([0.0, 0.0, math.pi / 2]), 2).round().int().tolist()
        [[0, -1], [1, 0]]
    """
    whole = torch.eye(dims, dtype=pose.dtype, device=pose.device)
    for one in plane_rotations(pose, dims):
        whole = whole @ one
    return whole


def plane_rotations(pose: torch.Tensor, dims: int) -> list[torch.Tensor]:
    """The factors of `rotation`, one for each pair of axes.

    Example:
        >>> len(plane_rotations(torch.zeros(6), 3))
        3
    """
    found = []
    for (a, b), angle in zip(_planes(dims), pose[dims:], strict=True):
        one = torch.eye(dims, dtype=pose.dtype, device=pose.device)
        one[a, a] = one[b, b] = angle.cos()
        one[a, b], one[b, a] = -angle.sin(), angle.sin()
        found.append(one)
    return found


def _planes(dims: int) -> list[tuple[int, int]]:
    return list(combinations(range(dims), 2))


def coil_mixture(kspace: SegmentedKSpace, coils: int) -> torch.Tensor:
    """The mixture (coils, C) of the channels that holds most of the energy: virtual coils (Buehrer et al. 2007)."""
    products = torch.stack([line.flatten(1) @ line.flatten(1).conj().T for line in kspace.lines]).sum(0)
    return torch.linalg.eigh(products).eigenvectors[:, -coils:].conj().T


def signed_frequency(places: np.ndarray, lines: int) -> np.ndarray:
    """Distance of lines from the centre of k-space, from their places in the order of `torch.fft`.

    Example:
        >>> signed_frequency(np.arange(5), 5).tolist()
        [0, 1, 2, -2, -1]
    """
    return np.where(places < (lines + 1) // 2, places, places - lines)


def _central(line: torch.Tensor, dim: int, kept: int) -> torch.Tensor:
    n = line.shape[dim]
    if kept >= n:
        return line
    return torch.cat([line.narrow(dim, 0, (kept + 1) // 2), line.narrow(dim, n - kept // 2, kept // 2)], dim)


def _along(values: torch.Tensor, axis: int, count: int) -> torch.Tensor:
    return values.reshape([-1 if i == axis else 1 for i in range(count)])


def _turned(phase: torch.Tensor) -> torch.Tensor:
    return torch.complex(phase.cos(), phase.sin())  # three times as fast as `torch.polar`

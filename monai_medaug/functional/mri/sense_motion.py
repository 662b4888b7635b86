"""Poses of segments of multi-coil k-space with known coil maps: the image and the motion that explain the data best."""

from __future__ import annotations

import torch

from monai_medaug.functional.mri.autofocus import MotionBounds, outwards, pose_unit, whole_shifts
from monai_medaug.functional.mri.rigid_image import conjugate_gradients
from monai_medaug.functional.mri.rigid_kspace import SegmentedKSpace, coil_mixture

_COILS = 8  # virtual ones, in which the motion is estimated
_ROUNDS, _SOLVES, _FINAL = 15, 3, 12  # of image and poses in turn; of conjugate gradients in each and in the last
_STEP = 0.05  # voxels, for differences by the poses
_DAMPING = 1e-3
_FLAT = 1e-2  # of the greatest sensitivity: where all coils are blinder than that, the image is not scaled up further
_PEAKS, _SEARCHED = 4, (2, 5)  # translations whose residual is compared, and the rounds in which they are


class SenseModel:
    """``K_j = M_j F S_c T_j x``: anatomy x in pose T_j, seen through coil maps S_c that stay where the coils are.

    Args:
        kspace: K of all coils, in segments with the lines M_j.
        maps: S, (C, *shape) with the phase-encoding axis first.
    """

    def __init__(self, kspace: SegmentedKSpace, maps: torch.Tensor) -> None:
        self.kspace, self.maps = kspace, maps
        self._dims = tuple(range(1, maps.ndim))
        lines = torch.zeros_like(maps[:1])
        power = maps.abs().square().sum(0, keepdim=True).sqrt()
        self._evened = 1 / (power + _FLAT * power.amax()).clamp_min(torch.finfo(power.dtype).tiny)
        self._single = SegmentedKSpace.of(lines, [range(maps.shape[1])], kspace.steps)

    def compressed(self, coils: int = _COILS) -> SenseModel:
        """The same with fewer virtual coils, see `coil_mixture`."""
        if len(self.maps) <= coils:
            return self
        mixture = coil_mixture(self.kspace, coils)
        return SenseModel(self.kspace.mixed(mixture), torch.tensordot(mixture, self.maps, 1))

    def posed(self, image: torch.Tensor, pose: torch.Tensor, turns: bool) -> torch.Tensor:
        """The anatomy (1, *shape) in a pose."""
        return torch.fft.ifftn(self._single.acquired(image, 0, pose, turns), dim=self._dims)

    def seen(self, posed: torch.Tensor, j: int) -> torch.Tensor:
        """The lines of segment j of the anatomy in its pose."""
        lines = torch.fft.fft(self.maps * posed, dim=1).index_select(1, self.kspace.placed[j])
        return torch.fft.fftn(lines, dim=self._dims[1:])

    def adjoint(self, lines: torch.Tensor, j: int, pose: torch.Tensor, turns: bool) -> torch.Tensor:
        """From the lines of segment j to the anatomy at rest."""
        whole = lines.new_zeros(self.maps.shape).index_copy(1, self.kspace.placed[j], lines)
        combined = (self.maps.conj() * torch.fft.ifftn(whole, dim=self._dims)).sum(0, keepdim=True)
        moved = self._single.moved_back(0, pose, turns, torch.fft.fftn(combined, dim=self._dims))
        return torch.fft.ifft(moved, dim=1)

    def solved(self, poses: torch.Tensor, turns: bool, start: torch.Tensor | None, rounds: int) -> torch.Tensor:
        """The anatomy (1, *shape) that explains the data best if these were the poses."""
        count = range(len(poses))
        parts = (self.adjoint(self.kspace.lines[j], j, poses[j], turns) for j in count)
        right = self._evened * sum(parts, torch.zeros_like(self.maps[:1]))

        def normal(x: torch.Tensor) -> torch.Tensor:
            x = self._evened * x
            parts = (self.adjoint(self.seen(self.posed(x, poses[j], turns), j), j, poses[j], turns) for j in count)
            return self._evened * sum(parts, torch.zeros_like(x))

        begin = torch.zeros_like(right) if start is None else start / self._evened
        return self._evened * conjugate_gradients(normal, right, begin, rounds)

    def unexplained(self, image: torch.Tensor, poses: torch.Tensor, turns: bool) -> torch.Tensor:
        """Energy of the data that an image in these poses leaves unexplained, as a share of all."""
        rest = [
            _energy(self.seen(self.posed(image, pose, turns), j) - self.kspace.lines[j]) for j, pose in enumerate(poses)
        ]
        whole = torch.stack([_energy(line) for line in self.kspace.lines]).sum()
        return torch.stack(rest).sum() / whole.clamp_min(torch.finfo(whole.dtype).tiny)


def consistent_motion(model: SenseModel, start: torch.Tensor, bounds: MotionBounds) -> torch.Tensor:
    """Poses (segments, `pose_size`) that explain the data of all coils best, from ``start``.

    Image and poses in turn (Cordero-Grande et al. 2016): a few rounds of conjugate gradients for the image, then a
    damped Gauss-Newton step for each segment, which sees the others through the image. The segment with k = 0 stays.
    """
    own = model.compressed()
    unit = pose_unit(own.kspace, start)
    unit = unit if bounds.turns else unit[: len(own.kspace.shape)]
    poses, image = start.clone(), None
    best, least = start, start.new_full((), torch.inf)
    moving = outwards(own.kspace)[1:]
    for number in range(_ROUNDS):
        image = own.solved(poses, bounds.turns, image, _SOLVES)
        cost = own.unexplained(image, poses, bounds.turns)
        best, least = torch.where(cost < least, poses, best), torch.minimum(cost, least)
        for j in moving:
            if number in _SEARCHED:
                poses[j] = _translated(own, image, j, poses[j], bounds)
            here = own.seen(own.posed(image, poses[j], bounds.turns), j)
            columns = []
            for i, length in enumerate(unit * _STEP):
                beside = poses[j].clone()
                beside[i] += length
                columns.append(own.seen(own.posed(image, beside, bounds.turns), j) - here)
            slopes = torch.stack([torch.view_as_real(c).flatten() for c in columns])
            rest = torch.view_as_real(own.kspace.lines[j] - here).flatten()
            matrix = slopes @ slopes.T
            matrix = matrix + _DAMPING * torch.diag(matrix.diagonal() + torch.finfo(matrix.dtype).tiny)
            steps = torch.linalg.solve_ex(matrix, slopes @ rest).result * _STEP
            poses[j, : len(unit)] += steps.clamp(-1, 1) * unit
    return best


def _translated(
    model: SenseModel, image: torch.Tensor, j: int, pose: torch.Tensor, bounds: MotionBounds
) -> torch.Tensor:
    """The pose of a segment, or another place where its data correlate with the image, if that explains them better."""
    dims = len(model.kspace.shape)
    turned = pose.clone()
    turned[:dims] = 0
    at_rest = torch.fft.fftn(model.adjoint(model.kspace.lines[j], j, turned, bounds.turns)[0])
    values = torch.fft.ifftn(at_rest * torch.fft.fftn(image[0]).conj()).real.flatten()
    places, distances = whole_shifts(model.kspace, bounds, pose)
    top = values[places].topk(min(_PEAKS, len(places))).indices
    tried = torch.cat([pose[None], turned.repeat(len(top), 1)])
    tried[1:, :dims] = distances[top] @ model.kspace.rotation(turned if bounds.turns else turned * 0).T
    rest = [_energy(model.seen(model.posed(image, p, bounds.turns), j) - model.kspace.lines[j]) for p in tried]
    return tried.index_select(0, torch.stack(rest).argmin()[None])[0]


def _energy(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(x).square().sum()

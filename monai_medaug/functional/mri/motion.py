"""Rigid motion during an MR scan: paths of poses, and lines of k-space acquired in different poses."""

from __future__ import annotations

import math

import numpy as np
import torch

from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.lattice import rotation_matrix
from monai_medaug.functional.geometry.pull_back import PullBack
from monai_medaug.functional.geometry.warp import warp
from monai_medaug.functional.mri.kspace import line_positions, weighted_parts

SEGMENTS = 8
"""Number of poses that approximate a continuous movement."""


def step_path(knots: np.ndarray, times: np.ndarray, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Rest, then a jump to the next pose at each time: poses (K, 6) and the index of each line's pose."""
    when = (np.arange(lines) + 0.5) / lines
    return np.concatenate([np.zeros((1, 6)), knots]), np.searchsorted(np.sort(times), when)


def drift_path(knots: np.ndarray, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """From rest through the poses at constant speed; returns as `step_path`."""
    way = np.concatenate([np.zeros((1, 6)), knots])
    middle = (np.arange(SEGMENTS) + 0.5) / SEGMENTS * len(knots)
    poses = np.stack([np.interp(middle, np.arange(len(way)), column) for column in way.T], 1)
    return poses, np.arange(lines) * SEGMENTS // lines


def breathing_path(knot: np.ndarray, cycles: float, phase: float, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Back and forth between rest and a pose as cos⁶, longest at the end of expiration (Lujan et al. 1999)."""
    when = (np.arange(lines) + 0.5) / lines
    depth = np.cos(math.pi * (cycles * when + phase)) ** 6
    return np.linspace(0, 1, SEGMENTS)[:, None] * knot, np.round(depth * (SEGMENTS - 1)).astype(int)


def pose_matrix(pose: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """World matrix (4, 4) of a pose: translation in mm and rotation vector in degrees, both along the grid's axes.

    The anatomy rotates about the grid's centre. A single slice moves within its plane, by the same length and angle.
    """
    shift, turn = pose[:3].copy(), pose[3:].copy()
    plane = grid.plane_axis
    if plane is not None:
        length, size = float(np.linalg.norm(shift)), float(np.linalg.norm(turn))
        shift[plane] = 0
        shift *= length / max(float(np.linalg.norm(shift)), 1e-9)
        sign = math.copysign(1, turn[plane])
        turn[:] = 0
        turn[plane] = sign * size
    directions = grid.matrix[:3, :3] / np.asarray(grid.embedded_spacing)
    angle = float(np.linalg.norm(turn))
    linear = rotation_matrix((directions @ turn).tolist(), angle)
    moved = np.eye(4)
    moved[:3, :3] = linear
    moved[:3, 3] = grid.centre - linear @ grid.centre + directions @ shift
    return moved


def line_shares(images: torch.Tensor, axis: int) -> np.ndarray:
    """Weight of each k-space line for the position of the anatomy, in the order of `line_positions`, sum 1 (B, lines).

    The root of the line's amplitude in an image of a batch (B, C, *spatial), times a Gaussian about the centre with a
    sigma of 6 lines: by energy the centre line alone would decide, which sees no translation along the axis. Power and
    width are empirical, from a phantom.
    """
    columns = torch.movedim(images, axis + 2, -1)
    for other in range(2, columns.ndim - 1):
        columns = columns[(slice(None),) * other + (slice(None, None, max(1, columns.shape[other] // 48)),)]
    energy = torch.fft.fft(columns).abs().square().flatten(1, -2).sum(1).double()
    amplitude = torch.fft.fftshift(energy.pow(0.25), dim=1).cpu().numpy()
    shares = amplitude * np.exp(-0.5 * (line_positions(amplitude.shape[1]) / 6) ** 2)
    return shares / np.maximum(shares.sum(1, keepdims=True), 1e-30)


def motion(
    image: torch.Tensor, poses: np.ndarray, pose_of_line: np.ndarray, axis: int, grid: VoxelGrid, shares: np.ndarray
) -> torch.Tensor:
    """Magnitude image with each k-space line acquired in its own pose.

    The mean of the poses, weighted by `line_shares`, is removed first: it would move the anatomy off its labels.

    Args:
        image: one sample (C, *spatial).
        poses: (K, 6) translation in mm and rotation vector in degrees, see `pose_matrix`.
        pose_of_line: index of the pose of each line, in the order of `line_positions`.
        axis: phase-encoding axis.
        grid: of the image.
        shares: its `line_shares`.
    """
    placed = np.stack([pose_matrix(p, grid) for p in poses])
    held = np.bincount(pose_of_line, shares, len(poses))
    total = held.sum()
    if total <= 0:
        return image.clone()
    back = np.linalg.inv(_mean_pose(placed, held / total, grid))
    used = [k for k in np.argsort(-held, kind="stable") if (pose_of_line == k).any()]
    first = _moved(image, placed[used[0]] @ back, grid)[None]
    real, imaginary = first.clone(), None
    for k in used[1:]:
        change = _moved(image, placed[k] @ back, grid)[None] - first
        whole, part = weighted_parts(change, (pose_of_line == k).astype(float), axis)
        real += whole
        if part is not None:
            imaginary = part if imaginary is None else imaginary.add_(part)
    magnitude = real.abs_() if imaginary is None else torch.hypot(real, imaginary)
    return magnitude[0]


def _mean_pose(placed: np.ndarray, weights: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """Mean of rigid matrices: the rotation nearest to their mean, and the mean position of the centre."""
    u, _, v = np.linalg.svd(np.tensordot(weights, placed[:, :3, :3], 1))
    linear = u @ v
    centre = np.append(grid.centre, 1.0)
    mean = np.eye(4)
    mean[:3, :3] = linear
    mean[:3, 3] = np.tensordot(weights, placed @ centre, 1)[:3] - linear @ grid.centre
    return mean


def _moved(image: torch.Tensor, pose: np.ndarray, grid: VoxelGrid) -> torch.Tensor:
    """An image (C, *spatial) with its anatomy moved by a world matrix, linearly interpolated."""
    if np.abs(pose - np.eye(4)).max() < 1e-9:
        return image
    own = grid.matrix
    source = (np.linalg.inv(own) @ np.linalg.inv(pose) @ own)[:3]
    if grid.plane_axis is not None:
        source[grid.plane_axis] = 0.0
    eye = torch.eye(3, 4, dtype=torch.float64)[None]
    still = torch.zeros(1, 3, 1, 2, 2, device=image.device)
    pull_back = PullBack(eye, torch.from_numpy(source)[None], torch.zeros(1, 3, 3, dtype=torch.float64), still)
    return warp(image[None], pull_back, padded=False)[0]

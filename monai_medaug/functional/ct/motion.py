"""Motion of the patient during a CT scan, as a pose for each view.

A view of direction n = (cos, sin)(theta) sees of an object f(A^-1 (x - d)) the line integrals ``|det A| / |A^T n| p(A^T
n / |A^T n|, (s - n · d) / |A^T n|)`` with those of the object, p. Poses here are a stretch along one direction, then a
rotation, then a translation.
"""

from __future__ import annotations

import math
from functools import partial

import torch

from monai_medaug.functional.acceleration import loops, over_rows, sent
from monai_medaug.functional.ct.acquisition import bounds, hu_change, line_integrals
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.hounsfield import AIR_HU


def motion_artefact(
    hu: torch.Tensor,
    shift: torch.Tensor,
    turn: torch.Tensor,
    beam: ParallelBeam,
    window: str,
    stretch: torch.Tensor | None = None,
    along: torch.Tensor | None = None,
    coarse: bool = False,
) -> torch.Tensor:
    """The change in HU when the patient moves during the scan.

    Args:
        hu: slices (N, 1, rows, columns) of what moves.
        shift: (N, views, 2) along x (columns) and y (rows) in mm at each view.
        turn: (N, views) in degrees at each view.
        beam: geometry.
        window: apodisation of the reconstruction.
        stretch: (N, views), the relative change of length from the rotation axis, None for none.
        along: (N, 2), unit vectors of the stretch along x and y.
        coarse: see what lies beyond the beam's field by `continued_lines`.
    """
    box = bounds(hu - AIR_HU)
    if box is None:
        return hu.new_zeros(len(hu), 1, *(beam.field or beam.shape))
    if coarse and beam.field:
        sinogram = line_integrals(hu, beam, coarse=True)
    else:
        sinogram = line_integrals(hu[..., box[0], box[1]], beam.part(*box))
    angles = sent(beam.angles, shift.device, shift.dtype)
    row = torch.arange(beam.views, device=hu.device, dtype=torch.float64) - turn.double() * (beam.views / 180)
    normal = torch.stack([torch.cos(angles), torch.sin(angles)], -1)
    offset = (shift * normal).sum(-1).double() / beam.pitch
    scale = None
    if stretch is not None and along is not None:
        direction = row * (math.pi / beam.views)
        x, y = torch.cos(direction), torch.sin(direction)
        part = stretch * (x * along[:, None, 0] + y * along[:, None, 1])
        wide_x, wide_y = x + part * along[:, None, 0], y + part * along[:, None, 1]
        scale = torch.hypot(wide_x, wide_y)
        row = row + torch.atan2(x * wide_y - y * wide_x, x * wide_x + y * wide_y) * (beam.views / math.pi)
        offset = offset / scale
    seen = _posed_views(sinogram[:, 0], row, offset, scale)
    if scale is not None and stretch is not None:
        seen = seen * ((1 + stretch) / scale).to(seen)[..., None]
    return hu_change(seen[:, None] - sinogram, beam, window)


def _posed_views(
    sinogram: torch.Tensor, row: torch.Tensor, offset: torch.Tensor, scale: torch.Tensor | None
) -> torch.Tensor:
    """Views (N, views, detectors) at the place ``row`` among the views, see `_displaced`."""
    compiled = loops("ct._numba_motion", sinogram, dtypes=[torch.float32])
    if compiled is None:
        below = torch.floor(row).long()
        near, far = _views(sinogram, below), _views(sinogram, below + 1)
        return _displaced(torch.lerp(near, far, (row - below).to(sinogram)[..., None]), offset, scale)
    given = sinogram.contiguous()
    out = torch.empty_like(given)
    places = [
        x.double().expand(row.shape).contiguous().numpy()
        for x in (row, torch.ones(()) if scale is None else scale, offset)
    ]
    over_rows(partial(compiled.moved_views, given.numpy(), *places, out.numpy()), len(given), 1)
    return out


def _views(sinogram: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Views (N, views, detectors) of any index (N, views): beyond 180° a sinogram continues as its mirror image."""
    views = sinogram.shape[1]
    rows = torch.take_along_dim(sinogram, (index % views)[..., None], 1)
    mirrored = torch.div(index, views, rounding_mode="floor") % 2 == 1
    return torch.where(mirrored[..., None], rows.flip(-1), rows)


def _displaced(rows: torch.Tensor, offset: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
    """Rows (N, views, detectors) scaled about their middle and displaced by an offset in detectors, 0 outside.

    Linearly interpolated: the value at j is that at ``middle + (j - middle) / scale - offset``.
    """
    width = rows.shape[-1]
    place = torch.arange(width, device=rows.device, dtype=torch.float64)
    if scale is None:
        start = torch.floor(-offset)
        index = torch.arange(width, device=rows.device) + start.long()[..., None]
        fraction = (-offset - start).to(rows)[..., None]
    else:
        middle = (width - 1) / 2
        position = middle + (place - middle) / scale[..., None] - offset[..., None]
        index = torch.floor(position).long()
        fraction = (position - index).to(rows)
    padded = torch.nn.functional.pad(rows, (1, 1))
    near, far = (torch.gather(padded, 2, (index + step).clamp(-1, width) + 1) for step in (0, 1))
    return torch.lerp(near, far, fraction)


def apparent_shift(shift: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    """Where a moving object appears: the translation (N, 2) that fits its translations (N, views, 2) best.

    A view measures the component along its detector direction n; least squares over V views gives (2 / V) sum n (n ·
    d).
    """
    angles = sent(beam.angles, shift.device, shift.dtype)
    normal = torch.stack([torch.cos(angles), torch.sin(angles)], dim=-1)
    return 2 * (normal * (shift * normal).sum(-1, keepdim=True)).mean(1)


def view_times(
    place_mm: torch.Tensor, angles: torch.Tensor, turn_seconds: float, feed_mm: float, start_degrees: float
) -> torch.Tensor:
    """When a helical scan measures each view of the slices at these places along the table, (N, views) in s.

    A slice is made from the half turn about the time at which it passes the beam, place / feed * turn; the gantry then
    stands at another angle in each slice.

    Args:
        place_mm: (N,) along the scanner's axis.
        angles: (views,) in radians; opposite ones are the same view.
        turn_seconds: of a rotation.
        feed_mm: of the table in a rotation.
        start_degrees: angle of the gantry at place 0.

    Example:
        >>> angles = torch.arange(4) * torch.pi / 4
        >>> (1000 * view_times(torch.tensor([0.0, 40.0]), angles, 0.4, 40.0, 90.0)).round().int()
        tensor([[-100,  -50,    0,   50],
                [ 300,  350,  400,  450]], dtype=torch.int32)
    """
    turns = place_mm[:, None].double() / feed_mm
    after = torch.remainder(angles.double() / (2 * math.pi) - turns - start_degrees / 360 + 0.25, 0.5) - 0.25
    return (turn_seconds * (turns + after)).float()


def breath(seconds: torch.Tensor, period: float, phase: float) -> torch.Tensor:
    """Position of the chest wall between breathed out (-1) and in (1): ``2 cos⁴(pi (t / period + phase)) - 1``.

    It stays longer near -1 (Lujan et al., Med. Phys. 1999).

    Example:
        >>> breath(torch.tensor([0.0, 1.0, 2.0]), 4.0, 0.0)
        tensor([ 1.0000, -0.5000, -1.0000])
    """
    return 2 * torch.cos(math.pi * (seconds / period + phase)) ** 4 - 1

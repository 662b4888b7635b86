"""Beam hardening of metal as a smooth function of the way through it, fitted to another correction."""

from __future__ import annotations

import torch

_ROUNDS, _RIDGE = 4, 1e-6


def hardening_fitted(change: torch.Tensor, metal: torch.Tensor, rim: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
    """The part of a change of rays that the way through metal explains: (N, 1, views, detectors).

    A ray of length L through metal and the line integral p through tissue is hardened by a smooth function of both,
    here of the terms L, L², L³, L p, L² p, L p², and E, E² for the rim that goes with the metal. Errors of an
    interpolation do not follow it: bone beside the metal that one loses mostly returns. Least squares, in rounds that
    give a ray less weight the farther off it is.

    Args:
        change: of line integrals.
        metal: way through the metal, of this shape.
        rim: way through the metal and its rim; the fit uses the rays where it is positive.
        rays: line integrals of the tissue.

    Example:
        >>> way = torch.linspace(0, 8, 50).expand(1, 1, 20, 50)
        >>> found = hardening_fitted(0.01 * way**2, way, way, torch.ones_like(way))
        >>> bool((found - 0.01 * way**2).abs().max() < 1e-3)
        True
    """
    given = [x.flatten(1).double() for x in (change, metal, rim, rays)]
    if change.device.type != "cpu":  # a GPU is not awaited, and takes all rays along
        return _fitted(*given).reshape(change.shape).to(change.dtype)
    whole = torch.zeros_like(given[0])
    for row, through in enumerate(given[2] > 0):
        index = torch.nonzero(through)[:, 0]
        if len(index):
            whole[row, index] = _fitted(*(x[row : row + 1, index] for x in given))[0]
    return whole.reshape(change.shape).to(change.dtype)


def _fitted(wanted: torch.Tensor, metal: torch.Tensor, rim: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """The same for rays in a row, (N, rays)."""
    on = (rim > 0).to(rim.dtype)
    a, e = (x / x.amax(1, keepdim=True).clamp_min(1e-12) for x in (metal, rim))
    terms = torch.stack([a, a**2, a**3, a * p, a**2 * p, a * p**2, e, e**2], 2)
    weight, fitted = on, torch.zeros_like(wanted)
    for _ in range(_ROUNDS):
        weighted = terms * weight[..., None]
        square = terms.mT @ weighted
        square.diagonal(dim1=1, dim2=2).mul_(1 + _RIDGE).add_(_RIDGE)
        factors = torch.linalg.solve_ex(square, weighted.mT @ wanted[..., None])[0]
        fitted = (terms @ factors)[..., 0]
        off = (wanted - fitted).abs()
        scale = (off * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
        weight = on / (1 + (off / (3 * scale).clamp_min(1e-9)) ** 2)
    return fitted

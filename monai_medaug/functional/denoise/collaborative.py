"""Collaborative filtering: similar patches stacked, shrunk together in a transform domain, and put back.

Written from the papers: K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain
collaborative filtering", IEEE TIP 16:2080 (2007), and M. Maggioni, V. Katkovnik, K. Egiazarian, A. Foi, "Nonlocal
transform-domain filter for volumetric data denoising and reconstruction", IEEE TIP 22:119 (2013).

An image is a volume of one plane with patches one plane thick, so that one code serves both. Patches are compared on
values rounded to whole fractions of sigma: sums of their squared differences are then exact in float32 in any order,
and every path finds the same patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from monai_medaug.functional.acceleration import loops
from monai_medaug.functional.denoise.collaborative_paths import filter_compiled, filter_torch
from monai_medaug.functional.denoise.collaborative_stage import WHITE, PatchStage, Sizes, as_volume, patch_stage, three
from monai_medaug.functional.noise.correlation import Correlation
from monai_medaug.functional.precision import computing_dtype

PATCH = {2: 8, 3: 4}
"""Patch edge in voxels by the number of axes."""
SEARCH = {2: 19, 3: 5}
"""Greatest displacement of similar patches in voxels."""
SIMILAR = (3.0, 0.64)
"""Greatest mean squared difference of similar patches in sigma², for either stage. In the first one 2 are noise."""
GRAINY_ALIKE = (2.0, 0.05)
"""In correlated noise, mean squared differences up to which patches are equally similar, the nearest first: of patches
with few independent voxels the most similar ones would be those that share the noise. On a CT head with 20 HU more of
it the error fell from 8.9 to 7.4 HU; more would smooth small lesions away. White noise is better off without."""
_FAR = 1e9  # value outside the image when patches are compared: nothing is similar to it


def collaborative_filter(
    image: torch.Tensor,
    sigma: torch.Tensor,
    *,
    patch: int | Sequence[int] | None = None,
    step: int = 3,
    search: int | Sequence[int] | None = None,
    members: tuple[int, int] = (32, 64),
    similar: tuple[float, float] = SIMILAR,
    threshold: float = 2.7,
    stages: int = 2,
    correlation: Correlation | None = None,
) -> torch.Tensor:
    r"""Remove white Gaussian noise of known standard deviation by block matching and 3D or 4D filtering.

    For each reference patch the most similar ones nearby are stacked, :math:`Z`. The first stage cuts the spectrum of
    the stack at :math:`2.7\,\sigma`; the second one repeats the matching on the first one's result, whose spectrum
    :math:`P` gives an empirical Wiener filter:

    .. math:: \hat Z_1 = T^{-1}\left[T Z\,(|T Z| \ge 2.7\,\sigma)\right], \qquad
              \hat Z_2 = U^{-1}\left[\frac{P^2}{P^2 + \sigma^2}\, U Z\right].

    T is the biorthogonal 1.5 wavelet in the patch, U the cosine transform, both with Haar's along the stack. Patches
    overlap; each counts with 1 / (coefficients kept) or 1 / (energy of the Wiener filter) times a Kaiser window. The
    mean of a stack is always kept, so that an offset such as HU's comes back as it was. Patches lie inside the image,
    so that nothing beyond its border is made up. An axis shorter than the patch makes the patch shorter; a volume
    with an axis of one voxel is filtered as an image. Channels are filtered each on its own. Computed in float32 on
    the image less its least value, whatever the dtype: 1e-7 of the range.

    The compiled path needs about 10 times the image in float32 beside it, the torch path 300 MB more.

    Args:
        image: (B, C, *spatial), two or three spatial axes.
        sigma: (B,) standard deviation of the noise in image units; 0 returns the sample as it is.
        patch: edge of the patches in voxels, one or one for each axis; 8 in images, 4 in volumes.
        step: distance of the reference patches in voxels.
        search: greatest displacement of similar patches in voxels, one or one for each axis; 19 in images, 5 in
            volumes.
        members: most patches in a stack in the two stages, rounded down to a power of 2.
        similar: see `SIMILAR`.
        threshold: of the first stage, in sigma.
        stages: 1 leaves out the Wiener stage.
        correlation: of the noise, a list of values at distances of 0, 1, .. voxels for each axis; None for white noise.
            Each coefficient is then judged by its own noise.

    Returns:
        The filtered image in its own dtype.

    Example:
        >>> noisy = torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(0)) + 100
        >>> filtered = collaborative_filter(noisy, torch.ones(1))
        >>> bool(filtered.std() < 0.3), bool((filtered.mean() - noisy.mean()).abs() < 0.1)
        (True, True)
    """
    axes = image.ndim - 2
    if axes not in PATCH:
        raise ValueError(f"image must have two or three spatial axes, got shape {tuple(image.shape)}")
    work = image.to(computing_dtype(image.dtype))
    shape, order = as_volume(image.shape[2:])
    planes = sum(n > 1 for n in shape)
    edges = _per_axis("patch", patch if patch is not None else PATCH[3 if planes == 3 else 2], axes, order)
    reach = _per_axis("search", search if search is not None else SEARCH[3 if planes == 3 else 2], axes, order)
    grain = WHITE if correlation is None else three((1.0,) if a < 0 else tuple(correlation[a]) for a in order)
    alike = (0.0, 0.0) if grain == WHITE else GRAINY_ALIKE
    plans = [
        patch_stage(shape, edges, step, reach, members[i], similar[i], wiener, grain, alike[i])
        for i, wiener in enumerate((False, True)[:stages])
    ]
    out = torch.empty_like(work)
    for b, s in enumerate(sigma.tolist()):
        for c in range(image.shape[1]):
            out[b, c] = _two_stages(work[b, c].reshape(shape), s, plans, threshold).reshape(image.shape[2:])
    return out.to(image.dtype)


def _per_axis(name: str, value: int | Sequence[int], axes: int, order: Sequence[int]) -> Sizes:
    values = [value] * axes if isinstance(value, int) else [int(v) for v in value]
    if len(values) != axes:
        raise ValueError(f"{name} must be one number or {axes}, one for each spatial axis, got {value}")
    return three(1 if a < 0 else values[a] for a in order)


def _two_stages(volume: torch.Tensor, sigma: float, plans: Sequence[PatchStage], threshold: float) -> torch.Tensor:
    """One volume (Z, Y, X). Its least value is taken off meanwhile, which keeps constants and small contrasts exact."""
    if not sigma > 0 or volume.numel() == 0:
        return volume
    zero = volume.min()
    noisy = ((volume - zero) / sigma).to(torch.float32).contiguous()
    pilot: torch.Tensor | None = None
    for plan in plans:
        pilot = _filter_stage(noisy, pilot, plan, threshold)
    return volume if pilot is None else pilot.to(volume.dtype) * sigma + zero


def _filter_stage(noisy: torch.Tensor, pilot: torch.Tensor | None, plan: PatchStage, threshold: float) -> torch.Tensor:
    """One stage on an image in units of sigma."""
    source = noisy if pilot is None else pilot
    matching = (source * plan.levels).round_()
    matching = F.pad(matching, [m for margin in plan.margin[::-1] for m in (margin, margin)], value=_FAR)
    compiled = loops("denoise._numba_collaborative", noisy, source)
    total, weight = torch.zeros_like(noisy), torch.zeros_like(noisy)
    if compiled is None:
        filter_torch(noisy, pilot, matching, plan, threshold, total, weight)
    else:
        filter_compiled(compiled, noisy, pilot, matching, plan, threshold, total, weight)
    return total.div_(weight)

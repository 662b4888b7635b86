"""Collaborative filtering: similar patches are stacked, shrunk together in a transform domain, and put back.

Written from the papers: K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain
collaborative filtering", IEEE TIP 16:2080 (2007), and M. Maggioni, V. Katkovnik, K. Egiazarian, A. Foi, "Nonlocal
transform-domain filter for volumetric data denoising and reconstruction", IEEE TIP 22:119 (2013).

A 2D image is a volume of one plane with patches one plane thick. Patches are compared on values rounded to whole
fractions of sigma: sums of squared differences are then exact in float32 in any order, and all paths find the same
patches.
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
"""Greatest mean squared difference of similar patches in sigma², for either stage; in the first one, 2 are noise."""
GRAINY_ALIKE = (2.0, 0.05)
"""In correlated noise, the mean squared difference up to which patches are equally similar, the nearest first. With few
independent voxels in a patch the most similar ones would be those that share the noise; greater values would smooth
small
lesions away. Not used in white noise."""
_LOOPS = "denoise._numba_collaborative"
_FAR = 1e9  # value outside the image in the comparison of patches: similar to none


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

    For each reference patch the most similar ones nearby are stacked, :math:`Z`. The first stage thresholds the
    spectrum of the stack at :math:`2.7\,\sigma`; the second one repeats the matching on the first one's result, whose
    spectrum :math:`P` gives an empirical Wiener filter:

    .. math:: \hat Z_1 = T^{-1}\left[T Z\,(|T Z| \ge 2.7\,\sigma)\right], \qquad
              \hat Z_2 = U^{-1}\left[\frac{P^2}{P^2 + \sigma^2}\, U Z\right].

    T is the biorthogonal 1.5 wavelet in the patch, U the cosine transform, both with Haar along the stack. Patches
    overlap; their weights are 1 / (coefficients kept) or 1 / (energy of the Wiener filter) times a Kaiser window. The
    mean of a stack is always kept, which preserves offsets such as HU. Patches lie inside the image and are cut to
    shorter axes; a volume with an axis of one voxel is filtered as an image, each channel alone. Any dtype is computed
    in float32 on the image minus its minimum, with an error of 1e-7 of the range.

    The compiled path needs about 10 times the memory of the float32 image, the torch path 300 MB more, on a GPU
    700 MB.

    Args:
        image: (B, C, *spatial), two or three spatial axes.
        sigma: (B,) standard deviation of the noise in image units; at 0 the sample stays as it is.
        patch: edge of the patches in voxels, one or one per axis; 8 in images, 4 in volumes.
        step: distance of the reference patches in voxels.
        search: greatest displacement of similar patches in voxels, one or one per axis; 19 in images, 5 in volumes.
        members: greatest number of patches in a stack in the two stages, rounded down to a power of 2.
        similar: see `SIMILAR`.
        threshold: of the first stage, in sigma.
        stages: 1 omits the Wiener stage.
        correlation: of the noise, for each axis the values at distances of 0, 1, ... voxels, so that each coefficient
            is compared to its own noise; None for white noise.

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
    if work.numel() == 0:
        return image
    volumes, levels = work.reshape(-1, *shape), sigma.repeat_interleave(image.shape[1])
    if loops(_LOOPS, volumes) is None:
        out = _two_stages(volumes, levels, plans, threshold)
    else:
        out = torch.cat([_two_stages(v[None], s[None], plans, threshold) for v, s in zip(volumes, levels, strict=True)])
    return out.reshape(image.shape).to(image.dtype)


def _per_axis(name: str, value: int | Sequence[int], axes: int, order: Sequence[int]) -> Sizes:
    values = [value] * axes if isinstance(value, int) else [int(v) for v in value]
    if len(values) != axes:
        raise ValueError(f"{name} must be one number or {axes}, one for each spatial axis, got {value}")
    return three(1 if a < 0 else values[a] for a in order)


def _two_stages(
    volumes: torch.Tensor, sigma: torch.Tensor, plans: Sequence[PatchStage], threshold: float
) -> torch.Tensor:
    """Volumes (N, Z, Y, X), less their minima meanwhile, for accuracy in constants and small contrasts."""
    zero, level = (v.reshape(-1, 1, 1, 1) for v in (volumes.flatten(1).amin(1), sigma.to(volumes)))
    noisy = ((volumes - zero) / torch.where(level > 0, level, 1.0)).to(torch.float32).contiguous()
    pilot: torch.Tensor | None = None
    for plan in plans:
        pilot = _filter_stage(noisy, pilot, plan, threshold)
    return volumes if pilot is None else torch.where(level > 0, pilot.to(volumes.dtype) * level + zero, volumes)


def _filter_stage(noisy: torch.Tensor, pilot: torch.Tensor | None, plan: PatchStage, threshold: float) -> torch.Tensor:
    """One stage on images in units of sigma."""
    source = noisy if pilot is None else pilot
    matching = (source * plan.levels).round_()
    matching = F.pad(matching, [m for margin in plan.margin[::-1] for m in (margin, margin)], value=_FAR)
    compiled = loops(_LOOPS, noisy, source)
    if compiled is None:
        return filter_torch(noisy, pilot, matching, plan, threshold)
    total, weight = torch.zeros_like(noisy[0]), torch.zeros_like(noisy[0])
    one = None if pilot is None else pilot[0]
    filter_compiled(compiled, noisy[0], one, matching[0], plan, threshold, total, weight)
    return total.div_(weight)[None]

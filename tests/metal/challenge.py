"""The eight figures of the AAPM CT-MAR challenge on one slice, each from 0, as good as the truth, to 4.

Written from the organisers' description of their scores (AAPM CT Metal Artifact Reduction Grand Challenge, 2023 to
2024): RMSE, noise, sharpness, streak amplitude, SSIM, bone, metal, proton range. Where they set regions by hand for
each patient, these are found by rule from the truth and the uncorrected slice alone, so that no method can move them.
4 is the uncorrected slice, but for three figures that have a scale of their own: noise (twice the truth's), sharpness
(a Gaussian blur of one pixel) and range (2 % of the longest path). Their curve from CT number to stopping power isn't
published; one through the values of ICRU tissues takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, gaussian_filter, sobel, uniform_filter
from skimage.metrics import structural_similarity

from tests.metal.cases import Slice

BONE_HU, METAL_MARGIN_HU, SSIM_RANGE, STREAK_SHARE = 150.0, 250.0, 5000.0, 0.05
NOISE_RADIUS, EDGE_SIDE, STREAK_SIDE = 8, 15, 41  # pixels of the regions
BLURS, BLUR_SCORES = (0.0, 0.4, 0.5, 0.75, 1.0), (0.0, 1.0, 2.0, 3.0, 4.0)
RANGE_SHIFT = 0.02
STOPPING_HU, STOPPING = (-1000.0, -98.0, 0.0, 40.0, 1550.0, 3071.0), (0.001, 0.95, 1.0, 1.035, 1.71, 2.39)
NAMES = ("rmse", "noise", "sharpness", "streaks", "ssim", "bone", "metal", "range")


@dataclass(frozen=True)
class Challenge:
    """The regions of a slice and its figures."""

    given: Slice

    @cached_property
    def tissue(self) -> np.ndarray:
        return self.given.body & ~self.given.mask

    @cached_property
    def distance(self) -> np.ndarray:
        return distance_transform_edt(~self.given.mask)

    @cached_property
    def spread(self) -> np.ndarray:
        """The uncorrected error, as a local root mean square."""
        squares = np.where(self.tissue, self.given.image - self.given.truth, 0.0) ** 2
        return np.sqrt(uniform_filter(squares, 9).clip(0))

    @cached_property
    def quiet(self) -> np.ndarray:
        """The disc of even tissue that the artefact touches least."""
        truth, r = self.given.truth, NOISE_RADIUS
        y, x = np.ogrid[-r : r + 1, -r : r + 1]
        inside = binary_erosion(self.tissue & (np.abs(truth) < BONE_HU), x**2 + y**2 <= r**2)
        uneven = np.sqrt(np.maximum(uniform_filter(truth**2, 2 * r) - uniform_filter(truth, 2 * r) ** 2, 0))
        even = inside & (uneven <= np.quantile(uneven[inside], 0.1))
        return _disc(_least(self.spread, even), r, truth.shape)

    @cached_property
    def blurred(self) -> list[np.ndarray]:
        """Gradients of the truth, as it is and blurred."""
        return [_gradient(gaussian_filter(self.given.truth, sigma)) for sigma in BLURS]

    @cached_property
    def edges(self) -> list[tuple[np.ndarray, list[float]]]:
        """Squares nearest the metal with an edge of soft tissue to bone and to fat, and their gradients when blurred.

        A square counts if a blur of one pixel takes a fifth of its gradient: it then holds an edge, and little else.
        """
        truth, square = self.given.truth, {"size": EDGE_SIDE, "mode": "constant"}
        clear = (self.distance > EDGE_SIDE) & (uniform_filter(self.tissue * 1.0, **square) > 0.99)
        soft = (truth > 0) & (truth < 100)
        found = []
        for other in (truth > 300, (truth > -150) & (truth < -50)):
            both = np.minimum(uniform_filter(soft * 1.0, **square), uniform_filter(other * 1.0, **square))
            places = np.argwhere(clear & (both > 0.15))[::7]
            for middle in places[np.argsort(self.distance[tuple(places.T)], kind="stable")]:
                edge = _square(middle, EDGE_SIDE, truth.shape)
                steps = [float(np.quantile(b[edge], 0.9)) for b in self.blurred]
                if steps[-1] < 0.8 * steps[0] and sorted(steps, reverse=True) == steps:
                    found.append((edge, steps))
                    break
        return found

    @cached_property
    def streaky(self) -> np.ndarray:
        """The square beside the metal with the strongest uncorrected error."""
        beside = self.given.body & (self.distance > STREAK_SIDE / 2 + 1)
        square = _square(_least(-uniform_filter(self.spread, 15), beside), STREAK_SIDE, beside.shape)
        return square & self.tissue & (self.distance > 1)

    @cached_property
    def metal_threshold(self) -> float:
        """250 HU above all that isn't metal near it."""
        return float(self.given.truth[self.distance <= 25].max()) + METAL_MARGIN_HU

    def raw(self, image: np.ndarray) -> dict[str, float]:
        """The figures in their own units, of which `scores` are made."""
        truth, mask = self.given.truth, self.given.mask
        error = image - truth
        signed = np.sort(error[self.streaky])
        count = max(round(STREAK_SHARE * len(signed)), 1)
        similar = structural_similarity(
            np.where(mask, truth, image),
            truth,
            data_range=SSIM_RANGE,
            gaussian_weights=True,
            use_sample_covariance=False,
            full=True,
        )[1]
        bone, true_bone = (image > BONE_HU) & self.tissue, (truth > BONE_HU) & self.tissue
        metal = (image > self.metal_threshold) & (self.distance <= 25)
        return {
            "rmse": float(np.sqrt((error[self.tissue] ** 2).mean())),
            "noise": float(image[self.quiet].std()),
            "streaks": float(signed[-count:].mean() - signed[:count].mean()),
            "ssim": 1 - float(similar[self.tissue].mean()),
            "bone volume": abs(bone.sum() / max(true_bone.sum(), 1) - 1),
            "bone dice": 1 - _dice(bone, true_bone),
            "metal volume": abs(metal.sum() / max(mask.sum(), 1) - 1),
            "metal dice": 1 - _dice(metal, mask),
            "range": self._range_shift(image),
        }

    def scores(self, image: np.ndarray) -> dict[str, float]:
        """From 0 to 4 each, by `NAMES`, and their mean."""
        found, worst = self.raw(image), self.raw(self.given.image)

        def share(name: str) -> float:
            return 4 * min(found[name] / max(worst[name], 1e-9), 1.0)

        noise = float(self.given.noisy[self.quiet].std())
        scores = {
            "rmse": share("rmse"),
            "noise": 4 * float(np.clip(found["noise"] / noise - 1, 0, 1)),
            "sharpness": self._blur_score(image),
            "streaks": share("streaks"),
            "ssim": share("ssim"),
            "bone": (share("bone volume") + share("bone dice")) / 2,
            "metal": (share("metal volume") + share("metal dice")) / 2,
            "range": 4 * min(found["range"] / RANGE_SHIFT, 1.0),
        }
        return scores | {"mean": float(np.mean([scores[name] for name in NAMES]))}

    def _blur_score(self, image: np.ndarray) -> float:
        """Of the edges' 90th percentile of the gradient; steeper than the truth is as good as the truth."""
        gradient = _gradient(image)
        found = [(-float(np.quantile(gradient[edge], 0.9)), np.negative(steps)) for edge, steps in self.edges]
        scores = [np.interp(steepness, steps, BLUR_SCORES) for steepness, steps in found]
        return float(np.mean(scores)) if scores else 0.0

    def _range_shift(self, image: np.ndarray) -> float:
        """Mean change of the water-equivalent path, as a share of the longest path.

        Of rows and columns that pass within 25 pixels of the metal, but not through it.
        """
        shifts, longest = [], 0.0
        power = [np.where(self.given.body, np.interp(x, STOPPING_HU, STOPPING), 0.0) for x in (image, self.given.truth)]
        for axis in (0, 1):
            passing = (self.distance <= 25).any(axis) & ~(self.distance <= 1).any(axis)
            paths = [p.sum(axis) for p in power]
            longest = max(longest, float(paths[1].max()))
            shifts.append(np.abs(paths[0] - paths[1])[passing & self.given.body.any(axis)])
        every = np.concatenate(shifts)
        return float(every.mean()) / longest if len(every) else 0.0


def with_metal(given: Slice) -> np.ndarray:
    """What a perfect correction would return: the truth with its metal."""
    return np.where(given.mask, np.maximum(given.image, Challenge(given).metal_threshold + 1), given.truth)


def _gradient(image: np.ndarray) -> np.ndarray:
    return np.hypot(sobel(image, 0), sobel(image, 1))


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def _least(values: np.ndarray, allowed: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(np.where(allowed, values, np.inf).argmin(), values.shape)
    return int(row), int(column)


def _disc(middle: tuple[int, int], radius: int, shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.indices(shape)
    return (y - middle[0]) ** 2 + (x - middle[1]) ** 2 <= radius**2


def _square(middle: tuple[int, int], side: int, shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.indices(shape)
    return np.maximum(np.abs(y - middle[0]), np.abs(x - middle[1])) <= side // 2

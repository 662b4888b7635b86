"""A CT scanner of its own for these tests: exact rays through painted shapes, Poisson noise, filtered back-projection.

Nothing here is shared with the package. Positions are in mm from the centre of rotation, x along columns and y along
rows. A body is a list of shapes painted one over the other, over a real slice if there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from tests.metal.materials import MU, NAMES, REFERENCE, fractions, tissue_maps, transmission, water_corrected

SUBRAYS = 3  # of an element, whose transmissions are averaged


@dataclass(frozen=True)
class Shape:
    """An ellipse or a box of a material; its axes are half its sizes."""

    material: str
    x: float
    y: float
    a: float
    b: float
    degrees: float = 0.0
    box: bool = False

    @property
    def numbers(self) -> tuple[float, ...]:
        angle = np.deg2rad(self.degrees)
        return self.x, self.y, self.a, self.b, np.cos(angle), np.sin(angle), float(self.box)

    def covers(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        cx, cy, a, b, cos, sin, box = self.numbers
        u, v = (cos * (x - cx) + sin * (y - cy)) / a, (cos * (y - cy) - sin * (x - cx)) / b
        return np.maximum(np.abs(u), np.abs(v)) <= 1 if box else u**2 + v**2 <= 1


@dataclass(frozen=True)
class Anatomy:
    """A real slice in HU, centred, under the shapes."""

    hu: np.ndarray
    pixel_mm: float


@dataclass(frozen=True)
class Scanner:
    """Geometry and dose.

    Attributes:
        size: pixels a side.
        field_mm: side of the image; what lies outside is scanned but not shown.
        fan: flat fan beam from 550 mm over 360° instead of parallel rays over 180°.
        views: how many.
        photons: per ray in front of the body.
        scan_mm: diameter that the rays cover.
    """

    size: int = 256
    field_mm: float = 360.0
    fan: bool = False
    views: int = 360
    photons: float = 1e6
    scan_mm: float = 460.0

    source_mm = 550.0

    @property
    def pixel_mm(self) -> float:
        return self.field_mm / self.size

    @property
    def pitch(self) -> float:
        return 0.8 * self.pixel_mm

    @property
    def elements(self) -> int:
        return int(np.ceil(self.scan_mm / self.pitch))

    @property
    def angles(self) -> np.ndarray:
        turn = 2 if self.fan else 1
        return np.arange(turn * self.views) * np.pi / self.views

    def places(self, subrays: int = 1) -> np.ndarray:
        """Where rays meet the line through the centre of rotation, mm."""
        count = self.elements * subrays
        return (np.arange(count) - (count - 1) / 2) * self.pitch / subrays

    def rays(self, subrays: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """A point of each ray and its direction, (views, elements, 2)."""
        cos, sin, s = np.cos(self.angles)[:, None], np.sin(self.angles)[:, None], self.places(subrays)
        point = np.stack([s * cos, s * sin], -1)
        if not self.fan:
            return point, np.broadcast_to(np.stack([-sin, cos], -1), point.shape).copy()
        source = self.source_mm * np.stack([sin, -cos], -1)
        along = point - source
        return point, along / np.linalg.norm(along, axis=-1, keepdims=True)


@njit(cache=True)
def _painted_lengths(points, directions, shapes, materials, lengths):
    """Add the length of each material on each ray to ``lengths``; the shape painted last counts."""
    count = len(shapes)
    first, last, ends = np.empty(count), np.empty(count), np.empty(2 * count)
    for r in range(len(points)):
        hits = 0
        for k in range(count):
            cx, cy, a, b, cos, sin, box = shapes[k]
            px, py = points[r, 0] - cx, points[r, 1] - cy
            u, v = (cos * px + sin * py) / a, (cos * py - sin * px) / b
            du = (cos * directions[r, 0] + sin * directions[r, 1]) / a
            dv = (cos * directions[r, 1] - sin * directions[r, 0]) / b
            first[k], last[k] = 0.0, -1.0
            if box > 0:
                low, high = -1e9, 1e9
                for p, d in ((u, du), (v, dv)):
                    if abs(d) < 1e-12:
                        if abs(p) > 1:
                            high = -2e9
                    else:
                        low, high = max(low, min((-1 - p) / d, (1 - p) / d)), min(high, max((-1 - p) / d, (1 - p) / d))
            else:
                square, half, rest = du * du + dv * dv, u * du + v * dv, u * u + v * v - 1
                root = half * half - square * rest
                low, high = 1.0, 0.0
                if root > 0:
                    low, high = (-half - np.sqrt(root)) / square, (-half + np.sqrt(root)) / square
            if high > low:
                first[k], last[k] = low, high
                ends[hits], ends[hits + 1] = low, high
                hits += 2
        order = np.sort(ends[:hits])
        for i in range(hits - 1):
            middle = (order[i] + order[i + 1]) / 2
            for k in range(count - 1, -1, -1):
                if first[k] < middle < last[k]:
                    lengths[r, materials[k]] += order[i + 1] - order[i]
                    break


@njit(cache=True)
def _sampled_lengths(points, directions, maps, pixel, reach, lengths):
    """Add line integrals through maps (rows, columns, n), read bilinearly every half pixel."""
    rows, columns, n = maps.shape
    step = pixel / 2
    for r in range(len(points)):
        for i in range(int(2 * reach / step)):
            t = -reach + (i + 0.5) * step
            x = (points[r, 0] + t * directions[r, 0]) / pixel + (columns - 1) / 2
            y = (points[r, 1] + t * directions[r, 1]) / pixel + (rows - 1) / 2
            if 0 <= x < columns - 1 and 0 <= y < rows - 1:
                j, k = int(x), int(y)
                fx, fy = x - j, y - k
                for m in range(n):
                    upper = maps[k, j, m] + fx * (maps[k, j + 1, m] - maps[k, j, m])
                    lower = maps[k + 1, j, m] + fx * (maps[k + 1, j + 1, m] - maps[k + 1, j, m])
                    lengths[r, m] += step * (upper + fy * (lower - upper))


@njit(cache=True)
def _back_projected(filtered, angles, pitch, size, pixel, source):
    """Sum of filtered projections over the views; ``source`` 0 is a parallel beam."""
    image = np.zeros((size, size))
    middle = (filtered.shape[1] - 1) / 2
    for a in range(len(angles)):
        cos, sin = np.cos(angles[a]), np.sin(angles[a])
        row = filtered[a]
        for i in range(size):
            y = (i - (size - 1) / 2) * pixel
            for j in range(size):
                x = (j - (size - 1) / 2) * pixel
                s, weight = x * cos + y * sin, 1.0
                if source > 0:
                    magnified = source / (source - x * sin + y * cos)
                    s, weight = s * magnified, magnified * magnified
                place = s / pitch + middle
                k = int(np.floor(place))
                if 0 <= k < len(row) - 1:
                    image[i, j] += weight * (row[k] + (place - k) * (row[k + 1] - row[k]))
    return image


def reconstructed(integrals: np.ndarray, scanner: Scanner) -> np.ndarray:
    """HU by filtered back-projection with a Hann window (Kak & Slaney 1988), of line integrals (views, elements)."""
    s, pitch = scanner.places(), scanner.pitch
    source = scanner.source_mm if scanner.fan else 0.0
    weighted = integrals * source / np.hypot(source, s) if scanner.fan else integrals
    padded = 2 ** int(np.ceil(np.log2(2 * scanner.elements)))
    n = np.fft.fftfreq(padded, 1 / padded)
    odd = n % 2 == 1
    kernel = np.where(odd, -1 / (np.pi * np.where(odd, n, 1) * pitch) ** 2, 0.0)
    kernel[0] = 1 / (4 * pitch**2)
    ramp = np.fft.rfft(kernel).real * pitch
    hann = 0.5 + 0.5 * np.cos(np.pi * np.linspace(0, 1, len(ramp)))
    filtered = np.fft.irfft(np.fft.rfft(weighted, padded) * ramp * hann, padded)[:, : scanner.elements]
    image = _back_projected(filtered, scanner.angles, pitch, scanner.size, scanner.pixel_mm, source)
    return 1000 * (image * np.pi / scanner.views / (2 if scanner.fan else 1) / MU[0, REFERENCE] - 1)


def projected(hu: np.ndarray, scanner: Scanner) -> np.ndarray:
    """Line integrals at 70 keV of an image of the scanner's field, as a method without raw data takes them."""
    maps = np.ascontiguousarray((1 + hu[..., None] / 1000) * MU[0, REFERENCE])
    return _image_rays(maps, scanner.pixel_mm, scanner, 1)[..., 0]


def projected_share(share: np.ndarray, scanner: Scanner) -> np.ndarray:
    """Lengths in mm through a mask."""
    return _image_rays(np.ascontiguousarray(share[..., None] * 1.0), scanner.pixel_mm, scanner, 1)[..., 0]


def _image_rays(maps: np.ndarray, pixel: float, scanner: Scanner, subrays: int) -> np.ndarray:
    points, directions = scanner.rays(subrays)
    lengths = np.zeros((points[..., 0].size, maps.shape[-1]))
    reach = np.hypot(*maps.shape[:2]) / 2 * pixel + pixel
    _sampled_lengths(points.reshape(-1, 2), directions.reshape(-1, 2), maps, pixel, reach, lengths)
    return lengths.reshape(*points.shape[:-1], -1)


def coverage(shapes: Sequence[Shape], size: int, pixel: float, fine: int = 5) -> np.ndarray:
    """Share of each pixel that any of the shapes covers."""
    places = (np.arange(size * fine) - (size * fine - 1) / 2) * pixel / fine
    x, y = np.meshgrid(places, places)
    inside = np.zeros(x.shape, bool)
    for shape in shapes:
        inside |= shape.covers(x, y)
    return inside.reshape(size, fine, size, fine).mean((1, 3))


def traversed(shapes: Sequence[Shape], scanner: Scanner, anatomy: Anatomy | None = None) -> np.ndarray:
    """Lengths (views, elements, subrays, bases) in mm."""
    points, directions = scanner.rays(SUBRAYS)
    names = list(dict.fromkeys(shape.material for shape in shapes))
    lengths = np.zeros((points[..., 0].size, len(names)))
    if shapes:
        numbers, kinds = np.array([s.numbers for s in shapes]), np.array([names.index(s.material) for s in shapes])
        _painted_lengths(points.reshape(-1, 2), directions.reshape(-1, 2), numbers, kinds, lengths)
    mixture = np.array([fractions(name) for name in names]).reshape(len(names), len(NAMES))
    total = (lengths @ mixture).reshape(*points.shape[:-1], -1)
    if anatomy is not None:
        left = 1 - coverage(shapes, max(anatomy.hu.shape), anatomy.pixel_mm)
        maps = np.moveaxis(tissue_maps(anatomy.hu)[:2] * left, 0, -1)
        smooth = _image_rays(np.ascontiguousarray(maps), anatomy.pixel_mm, scanner, 1)
        total[..., :2] += np.repeat(smooth, SUBRAYS, axis=1)
    return total.reshape(total.shape[0], scanner.elements, SUBRAYS, -1)


def measured(lengths: np.ndarray, scanner: Scanner, random: np.random.Generator | None) -> np.ndarray:
    """Water-corrected line integrals (views, elements), with Poisson noise if there is a generator."""
    share = transmission(lengths).mean(-1)
    counts = scanner.photons * share
    if random is not None:
        counts = np.maximum(random.poisson(counts), 1)
    return water_corrected(-np.log(counts / scanner.photons))

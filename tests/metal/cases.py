"""Slices with metal, of which the truth is known: 15 for choosing a method, 15 for judging it; four controls.

Which half a case belongs to was fixed before any method was run, and no figure of the judging half may be used to
choose a parameter. The protocol: energies, weights and attenuations of `materials`, 360 views over 180° (720 over 360°
in a fan beam), 1e6 photons a ray, water correction; the image holds -1024..3071 HU as scanners store it, unless a case
is ``wide``. The truth is the same scan without metal and without noise. Real slices are of other patients in each
half, and of none of those that the simulator's cases in the data folder were made of.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt, label

from tests.metal.bodies import TEETH, abdomen, chest, data_file, jaw, pelvis, real_slice, shoulders, thigh, water_body
from tests.metal.scanner import Anatomy, Scanner, Shape, coverage, measured, reconstructed, traversed

LOWEST, HIGHEST = -1024.0, 3071.0
NEAR = 25  # pixels


@dataclass(frozen=True)
class MetalCase:
    """What lies in the beam.

    Attributes:
        kind: the sort of implant.
        judged: whether it belongs to the judging half.
        body: its shapes without metal.
        metal: what is implanted; none in a control.
        scanner: geometry and dose.
        real: file and slice under the shapes.
        wide: the image isn't clipped.
    """

    kind: str
    judged: bool
    body: Callable[[], list[Shape]]
    metal: tuple[Shape, ...]
    scanner: Scanner = field(default_factory=Scanner)
    real: tuple[str, int] | None = None
    wide: bool = False

    @property
    def anatomy(self) -> Anatomy | None:
        return None if self.real is None else real_slice(*self.real)

    @property
    def available(self) -> bool:
        return self.real is None or data_file(self.real[0]) is not None


@dataclass(frozen=True)
class Slice:
    """A simulated slice: ``image`` with metal, ``truth`` without, ``noisy`` without at the same dose, ``mask``, mm."""

    image: np.ndarray
    truth: np.ndarray
    noisy: np.ndarray
    mask: np.ndarray
    pixel_mm: float

    @property
    def body(self) -> np.ndarray:
        return body_region(self.truth)

    @property
    def near(self) -> np.ndarray:
        return near_region(self.mask)


def body_region(truth: np.ndarray) -> np.ndarray:
    """The largest piece above -300 HU, filled."""
    pieces, _ = label(truth > -300)
    return binary_fill_holes(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)


def near_region(mask: np.ndarray) -> np.ndarray:
    """From one pixel beyond the metal, whose own share counts no more, to 25."""
    distance = distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf)
    return (distance > 1) & (distance <= NEAR)


def root_mean_square(image: np.ndarray, given: Slice) -> tuple[float, float]:
    """Error in HU outside the metal in the whole body and within 25 pixels, both clipped to the scanner's range."""
    error = (image.clip(LOWEST, HIGHEST) - given.truth.clip(LOWEST, HIGHEST)) ** 2
    outside = given.body & ~given.mask & (given.near | (distance_transform_edt(~given.mask) > 1))
    near = given.body & given.near
    return float(np.sqrt(error[outside].mean())), float(np.sqrt(error[near].mean())) if near.any() else float("nan")


def simulated(case: MetalCase, name: str, size: int = 256, extra: tuple[Shape, ...] = (), draw: int = 0) -> Slice:
    """Scan a case. ``extra`` are more shapes of the body, ``draw`` numbers the noise."""
    scanner = replace(case.scanner, size=size)
    anatomy, body = case.anatomy, [*case.body(), *extra]
    random = np.random.default_rng([zlib.crc32(name.encode()), draw])
    clean = traversed(body, scanner, anatomy)
    truth = reconstructed(measured(clean, scanner, None), scanner)
    noisy = reconstructed(measured(clean, scanner, random), scanner)
    image = noisy
    if case.metal:
        image = reconstructed(measured(traversed([*body, *case.metal], scanner, anatomy), scanner, random), scanner)
    image = image if case.wide else image.clip(LOWEST, HIGHEST)
    mask = coverage(case.metal, size, scanner.pixel_mm) >= 0.4
    return Slice(image, truth, noisy.clip(LOWEST, HIGHEST), mask, scanner.pixel_mm)


@lru_cache(maxsize=64)
def scanned(name: str, size: int = 256) -> Slice:
    """A case of `CASES` by its name."""
    return simulated(CASES[name], name, size)


def disc(material: str, x: float, y: float, radius: float) -> Shape:
    return Shape(material, x, y, radius, radius)


def bar(material: str, x: float, y: float, a: float, b: float, degrees: float = 0) -> Shape:
    return Shape(material, x, y, a, b, degrees, box=True)


def screws(material: str, rods: str, y: float, x: float = 0) -> tuple[Shape, ...]:
    """Two pedicle screws with their heads, and rods, in a vertebra whose body is at ``y``."""
    parts = []
    for s in (-1, 1):
        parts += [
            bar(material, x + s * 13, y + 14, 21, 2.8, 90 - s * 14),
            bar(material, x + s * 19, y + 37, 6, 5, -s * 14),
            disc(rods, x + s * 20, y + 43, 2.8),
        ]
    return tuple(parts)


def filled(tooth: int, material: str, size: float = 2.6) -> Shape:
    x, y, degrees = TEETH[tooth]
    return Shape(material, x, y, size, 0.75 * size, degrees)


def crown(tooth: int, material: str, size: float = 4.4) -> Shape:
    x, y, degrees = TEETH[tooth]
    return Shape(material, x, y, size, size - 0.5, degrees)


def hip(side: int, head: str, cup: str, inner: float = 14) -> tuple[Shape, ...]:
    """A ball in a metal cup with plastic (as water) between."""
    x = side * 92
    return (disc(cup, x, 6, 26), disc("soft", x, 6, 23), disc(head, x, 6, inner))


def contrast_in_veins() -> list[Shape]:
    return [*chest(), Shape("bolus", -34, -40, 8, 7), Shape("bolus", 20, -30, 10, 10)]


def calcified_aorta() -> list[Shape]:
    return [
        *abdomen(),
        Shape("calcified", 10, 24, 11, 10),
        Shape("vessel", 10, 24, 8.5, 7.5),
        Shape("calcified", -70, -30, 6, 5),
    ]


def contrast_in_bowel() -> list[Shape]:
    return [
        *abdomen(),
        Shape("bolus", 26, -48, 30, 11),
        Shape("bolus", -40, 8, 9, 18),
        Shape("calcified", 62, 40, 5, 4),
    ]


def nothing() -> list[Shape]:
    return []


_FAN = Scanner(fan=True)
_HEAD = Scanner(field_mm=220, scan_mm=280)
_LEG = Scanner(field_mm=220, scan_mm=260)
_WIDE_BODY = Scanner(field_mm=440, scan_mm=520)

CASES: dict[str, MetalCase] = {
    # for choosing
    "protocol": MetalCase("two", False, water_body, (disc("steel", -60, 45, 12), disc("steel", 62, 40, 12))),
    "one_steel": MetalCase("one", False, abdomen, (disc("steel", -70, 18, 9),), wide=True),
    "two_ti": MetalCase("two", False, abdomen, (disc("ti64", -75, 15, 12), disc("ti64", 70, 12, 12))),
    "hips_cocr": MetalCase(
        "hips", False, pelvis, (*hip(-1, "cocr", "ti64"), *hip(1, "cocr", "ti64")), Scanner(field_mm=400, fan=True)
    ),
    "shoulder_ti": MetalCase("shoulder", False, shoulders, (disc("ti64", 158, 4, 21),), _WIDE_BODY),
    "fillings": MetalCase(
        "dental", False, jaw, (filled(1, "amalgam"), filled(3, "amalgam", 1.8), crown(11, "dental_gold", 4)), _HEAD
    ),
    "plate_ti": MetalCase("near bone", False, thigh, (bar("ti64", 22, -8, 3, 11),), _LEG),
    "clip": MetalCase("clip", False, abdomen, (disc("ti64", -52, -10, 1.25), disc("ti64", -40, -22, 1.25))),
    "screws_ti": MetalCase("screws", False, abdomen, screws("ti64", "ti64", 52), _FAN),
    "port": MetalCase("border", False, chest, (Shape("ti64", -92, -82, 14, 5, -38),)),
    "cut_hip": MetalCase("cut field", False, pelvis, hip(1, "steel", "ti64"), Scanner(field_mm=300)),
    "real_screws": MetalCase(
        "screws", False, nothing, screws("ti64", "cocr", 62, -1), _FAN, ("lungdx_A0001_ct_kernelB.nii.gz", 3)
    ),
    "hips_steel": MetalCase(
        "hips",
        False,
        pelvis,
        (disc("steel", -92, 6, 14), disc("steel", 92, 6, 14)),
        Scanner(field_mm=400, fan=True),
        wide=True,
    ),
    "nail": MetalCase("near bone", False, thigh, (disc("ti64", 4, -8, 7),), _LEG),
    "jaw_gold": MetalCase("dental", False, jaw, (crown(12, "dental_gold", 5),), replace(_HEAD, fan=True), wide=True),
    "no_contrast": MetalCase("control", False, contrast_in_veins, ()),
    "no_enamel": MetalCase("control", False, jaw, (), _HEAD),
    # for judging
    "one_cocr": MetalCase("one", True, chest, (disc("cocr", 62, 52, 8),), _FAN),
    "two_unlike": MetalCase("two", True, abdomen, (disc("steel", -58, 20, 10), bar("ti64", 84, -4, 12, 7, 30))),
    "hips_unlike": MetalCase(
        "hips", True, pelvis, (*hip(-1, "cocr", "ti64", 16), disc("ti64", 92, 6, 15)), Scanner(field_mm=400)
    ),
    "shoulder_cocr": MetalCase(
        "shoulder",
        True,
        shoulders,
        (disc("cocr", -158, 4, 22), bar("ti64", -128, 10, 9, 2.5, 60)),
        replace(_WIDE_BODY, fan=True),
    ),
    "jaw_mixed": MetalCase(
        "dental",
        True,
        jaw,
        (filled(0, "amalgam", 3), crown(2, "dental_gold"), bar("ti64", *TEETH[10][:2], 2, 4), filled(12, "amalgam")),
        _HEAD,
    ),
    "plate_steel": MetalCase("near bone", True, thigh, (bar("steel", -15, -8, 2.5, 12, 8),), _LEG),
    "gold_markers": MetalCase(
        "clip", True, pelvis, (disc("gold", -7, 10, 1.5), disc("gold", 9, 16, 1.5)), Scanner(field_mm=400)
    ),
    "clips_steel": MetalCase(
        "clip",
        True,
        abdomen,
        (bar("steel", -58, 2, 3, 1, 20), bar("steel", -50, 8, 1.2, 1.2), bar("steel", -66, -8, 2.5, 1, 80)),
        _FAN,
    ),
    "screws_steel": MetalCase("screws", True, abdomen, screws("steel", "steel", 52)),
    "screws_cocr": MetalCase("screws", True, chest, screws("ti64", "cocr", 44), _FAN),
    "wires_at_skin": MetalCase(
        "border",
        True,
        chest,
        (disc("steel", -40, -103, 2), disc("steel", 60, -99, 3), bar("ti64", 100, -78, 18, 4, 35)),
    ),
    "mild": MetalCase("mild", True, abdomen, (disc("ti64", -70, 5, 6),)),
    "cut_shoulder": MetalCase(
        "cut field", True, shoulders, (disc("cocr", 158, 4, 20),), Scanner(field_mm=350, scan_mm=520)
    ),
    "real_rods": MetalCase(
        "screws", True, nothing, screws("ti64", "steel", 48, 2), Scanner(), ("lidc_0001_ct.nii.gz", 4)
    ),
    "real_shoulder": MetalCase(
        "shoulder", True, nothing, (disc("cocr", -152, 6, 15),), Scanner(fan=True), ("lidc_0002_ct.nii.gz", 5)
    ),
    "no_calcification": MetalCase("control", True, calcified_aorta, ()),
    "no_barium": MetalCase("control", True, contrast_in_bowel, (), _FAN),
}


def names(judged: bool, control: bool = False) -> list[str]:
    """Of one half, those that can be made here."""
    return [
        name for name, c in CASES.items() if c.judged == judged and (c.kind == "control") == control and c.available
    ]

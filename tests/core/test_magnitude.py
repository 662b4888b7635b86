"""Magnitude tables: every operation that has one runs at both of its ends, and does more at the far one."""

import pytest
import torch

import monai_medaug.transforms  # noqa: F401 - registers the operations
from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.magnitude import Magnitude, Reach

TABLE = [
    (cls, magnitude)
    for cls in sorted(set(REGISTRY.values()), key=lambda c: c.__name__)
    for magnitude in vars(cls).get("magnitudes", ())
    if cls.__module__.startswith("monai_medaug.")
]


def change(cls, magnitude: Magnitude, level: float, image: torch.Tensor) -> float:
    """Greatest change of a few draws."""
    operation = cls(**magnitude.arguments(level), prob=1.0).set_random_state(3)
    return max(float((operation(image) - image).abs().mean()) for _ in range(4))


@pytest.mark.parametrize(("cls", "magnitude"), TABLE, ids=lambda v: v.name if isinstance(v, Magnitude) else "")
def test_a_small_magnitude_does_nearly_nothing_and_a_great_one_something(cls, magnitude):
    image = cls.example(magnitude.spatial_dims[0])
    if image.ndim == 3:  # operations in k-space go by whole lines
        image = torch.nn.functional.interpolate(image[None], scale_factor=4, mode="bilinear")[0]
    if magnitude.name == "beam_hardening":  # which needs bone
        image = torch.where(image > image.mean(), 800.0, -50.0)
    small, great = (change(cls, magnitude, level, image) for level in (0.01, 1.0))
    assert small < (0.4 if magnitude.name == "gibbs" else 0.2) * great  # no less than one line is cut
    assert great > 1e-4 * float(image.max() - image.min())
    assert magnitude.text(1.0)


def test_names_stand_once_and_are_plain():
    names = [magnitude.name for _, magnitude in TABLE]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name.islower() for name in names)
    assert {"rotate", "translate", "shear", "contrast", "brightness", "gamma", "blur", "elastic"} <= set(names)


def test_other_parts_are_off():
    """Only the declared argument differs from the neutral draw."""
    for cls, magnitude in TABLE:
        if not cls.geometric:
            continue
        drawn = cls(**magnitude.arguments(1.0), prob=1.0).set_random_state(0).draw()
        neutral = {k for k, v in cls.identity.items() if k in drawn and drawn[k] != v and k != "elastic_strength"}
        expected = {"scale_fraction": "scale"}.get(*[next(iter(magnitude.reach))] * 2)
        assert neutral == ({expected} if expected != "elastic_mm" else set())


@pytest.mark.parametrize(
    ("reach", "low", "high"),
    [
        (Reach(0, 25), 0, 10),
        (Reach(0, 30, "signed"), -12, 12),
        (Reach(1, 0.5), 0.8, 1),
        (Reach(1, 1.5, "ratio"), 1.5**-0.4, 1.5**0.4),
        (Reach(80, 8, "inverse"), 20, 200),
        (Reach(2e6, 2e4, "inverse_square"), 1.25e5, 1.25e7),
    ],
    ids=str,
)
def test_laws(reach, low, high):
    assert reach.at(0.4) == pytest.approx((low, high))

"""How quantities are said."""

import string

import pytest

from monai_medaug.core.phrases import named_quantity, phrase
from tests.contract.cases import CASES


class Bent:
    phrases = {"angle_degrees": "bent by {:.0f}°", "shift_mm": "shifted by {:.1f} and {:.1f} mm"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("angle_degrees", -12.4, "bent by -12°"),
        ("shift_mm", [1.0, 2.0], "shifted by 1.0 and 2.0 mm"),
        ("shift_mm", [1.0, 2.0, 3.0], "shift 1, 2, 3 mm"),
        ("depth_hu", 1234.5678, "depth 1.23e+03 HU"),
        ("parts", 3, "parts 3"),
        ("kind_of_noise", "ct", "kind of noise ct"),
        ("inside_fraction", 0.25, "inside 0.25 of the field of view"),
        ("cutoff_per_mm", 0.9, "cutoff 0.9 per mm"),
        ("thickness_mm", "spacing", "thickness spacing"),
    ],
)
def test_phrase_or_name_with_unit(name, value, said):
    assert phrase(Bent, name, value) == said


def test_name_and_value_of_a_report():
    assert named_quantity("shift_mm", [1.23456, 2]) == ("shift", "1.235, 2 mm")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_phrases_are_of_quantities_that_there_are(case):
    transform = case.array()
    values = transform.draw()
    for name, form in case.cls.phrases.items():
        parts = [part for _, part, *_ in string.Formatter().parse(form) if part is not None]
        assert parts, f"{form!r} says no value"
        assert set(parts) == {""}
        if name in values and not isinstance(values[name], list):
            assert phrase(case.cls, name, values[name]) == form.format(values[name])
    assert set(case.cls.headline or ()) <= case.cls.phrases.keys()

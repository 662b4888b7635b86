"""The wording of a record's quantities, shared by the report, the figures and the gallery."""

from __future__ import annotations

from typing import Any

from monai_medaug.core.contract import OperationContract

UNITS = {"degrees": "°", "mm": " mm", "hu": " HU", "fraction": " of the field of view"}
"""Units by the last part of a quantity's name."""


def named_quantity(name: str, value: Any, digits: int = 4) -> tuple[str, str]:
    """The name of a quantity and its value with the unit.

    Args:
        name: as in the record; a unit at its end moves to the value.
        value: a number, a word, or a list of these.
        digits: significant digits of a float.

    Example:
        >>> named_quantity("elastic_sigma", 8.0), named_quantity("shift_mm", [1.25, 2.0])
        (('elastic sigma', '8'), ('shift', '1.25, 2 mm'))
        >>> named_quantity("cutoff_per_mm", 0.9), named_quantity("thickness_mm", "spacing")
        (('cutoff', '0.9 per mm'), ('thickness', 'spacing'))
    """
    stem, _, suffix = name.rpartition("_")
    unit = UNITS.get(suffix, "")
    if unit and stem.endswith("_per"):
        stem, unit = stem.removesuffix("_per"), " per" + unit
    values = value if isinstance(value, list) else [value]
    if any(isinstance(v, str) for v in values):
        return (stem if unit else name).replace("_", " "), ", ".join(map(str, values))
    said = ", ".join(f"{v:.{digits}g}" if isinstance(v, float) else str(v) for v in values)
    return (stem if unit else name).replace("_", " "), said + unit


def phrase(operation: type[OperationContract], name: str, value: Any) -> str:
    """A quantity in the words of `OperationContract.phrases`, else as its name and its value with the unit.

    Example:
        >>> from monai_medaug.transforms import RandCTDose, RandMRIMotion
        >>> phrase(RandCTDose, "noise_hu", 9.876), phrase(RandMRIMotion, "cycles", 12.345)
        ('noise of 9.9 HU', 'cycles 12.3')
    """
    form = operation.phrases.get(name)
    values = value if isinstance(value, list) else [value]
    if form is not None and form.count("{") == len(values):
        return form.format(*values)
    return " ".join(named_quantity(name, value, digits=3))

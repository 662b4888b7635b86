"""Words for what is wrong with the places and numbers of slices."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from monai_medaug.scans.dicom.planes import Plane

_DISTINCTIONS = {
    "EchoTime": "echo time",
    "EffectiveEchoTime": "echo time",
    "EchoNumbers": "echo",
    "DiffusionBValue": "b-value",
    "DiffusionGradientOrientation": "diffusion direction",
    "InversionTime": "inversion time",
    "FlipAngle": "flip angle",
    "TemporalPositionIdentifier": "time point",
    "TemporalPositionIndex": "time point",
    "TriggerTime": "cardiac phase",
    "NominalCardiacTriggerDelayTime": "cardiac phase",
    "ImageType": "type",
    "FrameType": "type",
    "ComplexImageComponent": "magnitude or phase",
    "AcquisitionNumber": "acquisition",
    "ConvolutionKernel": "kernel",
    "KVP": "tube voltage",
    "StackID": "stack",
    "DimensionIndexValues": "dimension index",
}
"""What slices at one place may differ in; the last one only tells frames apart that nothing else does."""

_SHOWN_GAPS = 3


def repeated_positions(slices: Sequence[Plane], gaps: np.ndarray) -> str:
    """How many slices share positions, and what they differ in.

    Args:
        slices: in the order of their positions.
        gaps: between neighbours, in mm; below 0.001 counts as none.
    """
    groups: list[list[Plane]] = [[slices[0]]]
    for plane, gap in zip(slices[1:], gaps, strict=True):
        if gap < 1e-3:
            groups[-1].append(plane)
        else:
            groups.append([plane])
    most = max(groups, key=len)
    shared = sum(len(group) > 1 for group in groups)
    names = [word for key, word in _DISTINCTIONS.items() if len({str(plane.get(key)) for plane in most}) > 1]
    if len(names) > 1:
        names = [name for name in names if name != _DISTINCTIONS["DimensionIndexValues"]]
    said = f", which differ in {', '.join(dict.fromkeys(names))}" if names else ""
    return f"up to {len(most)} at {shared} of {len(groups)} positions{said}; it must hold one stack"


def uneven_gaps(slices: Sequence[Plane], gaps: np.ndarray, tolerance: float) -> str:
    """Where the gaps between neighbours are not the usual one.

    Args:
        slices: in the order of their positions.
        gaps: between neighbours, in mm.
        tolerance: share of the usual gap by which a gap may differ from it.
    """
    usual = float(np.median(gaps))
    odd = np.flatnonzero(np.abs(gaps - usual) > tolerance * usual)
    if len(odd) == 0:
        if np.ptp(gaps) < 1e-3:
            return "they are shifted sideways against each other"
        return f"gaps of {gaps.min():.4g} to {gaps.max():.4g} mm"
    numbers = [plane.number for plane in slices]
    by_number = None not in numbers and len(set(numbers)) == len(numbers)
    said = []
    for k in odd[:_SHOWN_GAPS]:
        pair = sorted((numbers[k], numbers[k + 1])) if by_number else (k + 1, k + 2)
        lost = round(gaps[k] / usual) - 1
        whole = lost > 0 and abs(gaps[k] / usual - 1 - lost) <= tolerance
        said.append(f"{pair[0]} and {pair[1]} ({gaps[k]:.4g} mm{f', as if {lost} were missing' if whole else ''})")
    more = f" and {len(odd) - _SHOWN_GAPS} more gaps" if len(odd) > _SHOWN_GAPS else ""
    named = "with the numbers" if by_number else "in the order of positions"
    return f"the usual gap is {usual:.4g} mm, and others lie between those {named} {', '.join(said)}{more}"


def numbering_gaps(slices: Sequence[Plane], passed: Collection[int]) -> str | None:
    """What instance numbers say about missing slices that positions can't show; None for nothing.

    Args:
        slices: of an even stack.
        passed: numbers of objects of the same series that were passed over.
    """
    numbers = [plane.number for plane in slices]
    known = {n for n in numbers if n is not None}
    if len(slices) == 1 or len(known) < len(numbers):
        return None
    lowest, highest = min(known), max(known)
    steps = set(np.diff(sorted(known)).tolist())
    if len(steps) == 1 and steps != {1}:
        return None  # numbered so on purpose: every other one, or by tens
    skipped = highest - lowest + 1 - len(known | {n for n in passed if lowest < n < highest})
    said = [f"skip {skipped} number(s)"] if skipped else []
    if 1 < min(known.union(passed)) <= len(slices):  # a number far above is one of another count
        said.append(f"start at {lowest}")
    return f"{' and '.join(said)}, so slices may be missing{'' if skipped else ' at the ends'}" if said else None

"""The verdict on a call: labels, lesion and images before and after, compared through the records of the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.data.meta_tensor import MetaTensor

from monai_medaug.transforms.safety.anatomy import judge_labels
from monai_medaug.transforms.safety.finding import Finding, Limits, answer_of
from monai_medaug.transforms.safety.pathology import judge_lesion


def judge(
    before: Mapping,
    after: Mapping,
    label_keys: Sequence[Any],
    lesion_key: Any,
    image_keys: Sequence[Any],
    limits: Limits,
    ours: bool = False,
) -> tuple[dict[str, Any], set[str]]:
    """Compare and decide.

    Args:
        before: the sample.
        after: the result.
        label_keys: of the label maps.
        lesion_key: of the lesion mask, or None.
        image_keys: of the images.
        limits: what is allowed.
        ours: whether all steps are of this package, so that the trace holds all of them.

    Returns:
        The verdict as plain values: ``anatomy`` and ``pathology``: "yes", "no" or "not checked"; ``violations``:
        sentences; ``checked``: for both, sentences on what was checked or why nothing was; ``checks``: figures. And the
        kinds of steps that caused violations, empty where one can't be told.
    """
    anatomy = [
        f
        for key in label_keys
        if _has(before, after, key)
        if (f := judge_labels(before, after, key, image_keys, limits, ours)) is not None
    ]
    pathology = []
    if lesion_key is not None and _has(before, after, lesion_key):
        found = judge_lesion(before, after, lesion_key, image_keys, limits, ours)
        pathology = [] if found is None else [found]
    if any(f.misfit for f in anatomy):
        for finding in pathology:
            finding.unchecked = finding.unchecked or "the images don't fit the labels"
    findings = [*anatomy, *pathology]
    verdict = {
        "anatomy": answer_of(anatomy),
        "pathology": answer_of(pathology),
        "violations": [v for f in findings for v in f.violations],
        "checked": {"anatomy": _sentences(anatomy), "pathology": _sentences(pathology)},
        "checks": {name: figure for f in findings for name, figure in f.checks.items()},
    }
    wrong = [f.causes for f in findings if f.violations]
    return verdict, set().union(*wrong) if all(wrong) else set()


def _has(before: Mapping, after: Mapping, key: Any) -> bool:
    return isinstance(before.get(key), MetaTensor) and isinstance(after.get(key), MetaTensor)


def _sentences(findings: Sequence[Finding]) -> list[str]:
    return [s for f in findings for s in ([f"not checked: {f.unchecked}"] if f.unchecked else f.checked)]

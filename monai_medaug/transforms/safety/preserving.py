"""Augmentation with checks: harm to anatomy or pathology is reduced, rejected or reported."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import execute_compose
from monai.transforms.transform import MapTransform
from monai.utils import ensure_tuple

from monai_medaug.core.arguments import choice, number
from monai_medaug.core.call import ABSENT
from monai_medaug.core.dictionary import DictionaryOperation
from monai_medaug.core.seeded import SeededContainer, are_ours, in_kinds_of, keys_of, random_operations, seed_children
from monai_medaug.core.tensors import affine_of, plain_tensor, say_once, tracking, with_meta
from monai_medaug.core.trace import samples_of
from monai_medaug.functional.geometry.maps import maps_kept
from monai_medaug.functional.precision import put_samples
from monai_medaug.transforms.safety.finding import GEOMETRY, INTENSITY, Limits
from monai_medaug.transforms.safety.verdict import judge

_STRENGTHS = (1.0, 0.6, 0.35, 0.2, 0.1, 0.0)


class PreservingCompose(SeededContainer, MapTransform):
    """Run transforms, compare labels, lesion and images before and after, and stop harmful changes.

    Positions are followed from before to after through the records of our steps and the affines of MONAI's. Checked on
    every call, at some thousand positions:

    - labels: the volume of each inside the field of view, relative to the drawn scaling (enlarging everything by 10 %
      is allowed), with a tolerance for counting voxels; its voxels lie where the steps moved them; no new labels; no
      folding;
    - images still fit the labels: both were moved by the same steps, stay on one grid and are padded alike; of the
      edges at label borders that could be seen before, at least 90 % lie there still, within a voxel and with a like
      profile; at no more than 15 % of the places, at borders and inside, structures appeared or vanished that are
      stronger than the texture, at no more than 2 % three times as strong. Nowhere in the image do structures appear
      (at more than 0.1 % of places all over it) or vanish (0.3 %) by half the range of its values, as metal does; black
      or white shutters that begin at a side don't count. Noise doesn't count, nor gain, gamma and windows: values are
      compared through the monotone curve that fits best;
    - lesion: the share that is still in the image, the share that is padding, voxels that were no lesion, its border,
      its components and cavities (except specks below 1 % of it);
    - the lesion in each image, if its mean step at the border was at least 0.6 of the steps' standard deviation, which
      can be seen: that ratio; contrast to noise against the surrounding 4 voxels and detectability (d' of an
      observer who averages over areas of the lesion's size), where these say something; the steepness of its border;
      by how much its edges together lie off the mask, at most 1.5 voxels; the contrast of its parts (components; rim,
      core and thirds of the largest), which may neither fall nor grow.

    The answers are ``"yes"`` (labels preserved; lesion kept and visible), ``"no"`` or ``"not checked"``: without label
    or lesion, where a lesion could not be seen before, where images don't fit the labels any longer, or where a step
    moved both without a record, as MONAI's elastic ones do, and changed no volume by more than is allowed. They and all
    figures are in the record and in `augmentation_report`.

    Args:
        transforms: dictionary transforms, ours or MONAI's, or a Compose of them.
        label_key: key or keys of the label maps; None leaves the anatomy unchecked.
        lesion_key: key of the lesion mask, the union of its channels; None leaves the pathology unchecked.
        max_volume_change: greatest relative change of a label's volume.
        min_lesion_kept: least share of the lesion inside the field of view.
        on_violation: ``"shrink"`` repeats the call with the same draws, whose magnitudes in our steps are scaled by
            0.6, 0.35, 0.2, 0.1 and 0 until they pass, those of geometry or of the others as the violation says, and
            rejects otherwise; ``"reject"`` returns the input; ``"warn"`` keeps the result and warns.
        min_contrast_kept: least share of the lesion's contrast, detectability and steepness that remains; its parts'
            contrast may grow by as much. Ratios to the noise may fall further where they stay above 3, d' above 5.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import RandAffineElasticd
        >>> label = torch.zeros(1, 48, 48)
        >>> label[:, 16:32, 16:32] = 1
        >>> deform = RandAffineElasticd(["image", "label"], prob=1.0, mode=["bilinear", "nearest"])
        >>> safe = PreservingCompose([deform], label_key="label", max_volume_change=0.05).set_random_state(0)
        >>> out = safe({"image": MetaTensor(100 * label), "label": MetaTensor(label)})
        >>> out["label"].applied_operations[-1]["extra_info"]["verdict"]["anatomy"]
        'yes'
    """

    label = "PreservingCompose"

    def __init__(
        self,
        transforms: Any,
        label_key: KeysCollection | None,
        lesion_key: str | None = None,
        max_volume_change: float = 0.1,
        min_lesion_kept: float = 0.9,
        on_violation: str = "shrink",
        min_contrast_kept: float = 0.5,
    ) -> None:
        self.transforms = ensure_tuple(transforms)
        self.label_keys: tuple = () if label_key is None else ensure_tuple(label_key)
        self.lesion_key = lesion_key
        self.on_violation = choice("on_violation", on_violation, ("shrink", "reject", "warn"))
        self.limits = Limits(
            number("max_volume_change", max_volume_change, 0),
            number("min_lesion_kept", min_lesion_kept, 0, 1),
            number("min_contrast_kept", min_contrast_kept, 0),
        )
        masks = (*self.label_keys, *([lesion_key] if lesion_key is not None else []))
        self.keys = tuple(dict.fromkeys((*keys_of(self.transforms), *masks)))
        self.image_keys = tuple(k for k in self.keys if k not in masks)
        SeededContainer.__init__(self)

    def run_seeded(self, data: Mapping, seed: int) -> dict:
        self._require_masks(data)
        with tracking(everywhere=not are_ours(self.transforms)), maps_kept():
            out = self._judged(data, seed)
        return in_kinds_of(data, out, self.keys)

    def _require_masks(self, data: Mapping) -> None:
        for key in (*self.label_keys, *([] if self.lesion_key is None else [self.lesion_key])):
            if key not in data and not self.allow_missing_keys:
                raise KeyError(f"key {key!r} of PreservingCompose is missing in the data")

    def _judged(self, data: Mapping, seed: int) -> dict:
        """The result as MetaTensors, with the verdict in their trace."""
        wrapped = _with_trace(data, self.keys)
        operations = list(random_operations(self.transforms))
        kinds = [GEOMETRY if operation.geometric else INTENSITY for operation in operations]
        eased = dict.fromkeys(kinds, 0)
        first = list(takewhile(_moves_alone, self.transforms))
        moved: Any = None
        try:
            with self._traced():
                while True:
                    for operation, kind in zip(operations, kinds, strict=True):
                        operation.strength = _STRENGTHS[eased[kind]]
                    seed_children(self.transforms, seed)
                    if moved is None:
                        moved = execute_compose(wrapped, first)
                    given = moved if are_ours(self.transforms) else _copied(moved, self.keys)
                    out = execute_compose(given, self.transforms[len(first) :])
                    if not isinstance(out, dict):
                        raise ValueError(
                            f"transforms must return one sample, got {type(out).__name__}: put multi-sample crops "
                            "after PreservingCompose"
                        )
                    verdict, causes = self._verdict(wrapped, out)
                    kinds_at_fault = causes & set(eased) or set(eased)
                    further = [k for k, n in eased.items() if k in kinds_at_fault and n + 1 < len(_STRENGTHS)]
                    if not verdict["violations"] or self.on_violation != "shrink" or not further:
                        break
                    eased |= {kind: eased[kind] + 1 for kind in further}
                    if GEOMETRY in further:
                        moved = None
        finally:
            for operation in operations:
                operation.strength = 1.0
        strengths = {kind: _STRENGTHS[n] for kind, n in eased.items() if n}
        strength = min(strengths.values(), default=1.0)
        violated = bool(verdict["violations"])
        rejected = violated and self.on_violation != "warn"
        if strength == 0:
            say_once("PreservingCompose scaled a call back to 0 %; its report states the reason")
        if violated and not rejected:
            warnings.warn("PreservingCompose: " + "; ".join(verdict["violations"]), UserWarning, stacklevel=2)
        info = {"seed": seed, "strength": strength, "eased": strengths, "rejected": rejected, "verdict": verdict}
        return self.with_records(wrapped if rejected else out, not rejected, dict.fromkeys(self.keys, info))

    @contextmanager
    def _traced(self) -> Iterator[None]:
        """All operations inside leave records."""
        operations = list(random_operations(self.transforms))
        before = [operation.tracing for operation in operations]
        try:
            for operation in operations:
                operation.tracing = True
            yield
        finally:
            for operation, traced in zip(operations, before, strict=True):
                operation.tracing = traced

    def _verdict(self, before: Mapping, after: Mapping) -> tuple[dict[str, Any], set[str]]:
        images = [key for key in self.image_keys if key in before]
        if not images:  # nothing is done to them, so that labels that move no longer fit
            shapes = [tuple(before[key].shape[1:]) for key in self.keys if key in before]
            images = [k for k in before if k not in self.keys and _may_be_image(before[k], shapes)]
            before, after = (_with_trace(d, (*self.keys, *images)) for d in (before, after))
        ours = are_ours(self.transforms)
        before, after = (_on_the_host(d, (*self.keys, *images)) for d in (before, after))
        return judge(before, after, self.label_keys, self.lesion_key, images, self.limits, ours)

    # ---- on a batch ------------------------------------------------------------------------------------------

    @property
    def runs_on_batches(self) -> bool:
        return are_ours(self.transforms)

    def batch_draw(self, data: Any, sample: int, drawn: Callable[[Any], Any]) -> Any:
        seed = self.call_seed(data, sample)
        seed_children(self.transforms, seed)
        return seed, [drawn(child) for child in self.transforms]

    def run_batch(self, data: Any, draws: Sequence[Any], run: Callable[[Any, list[Any], Any], Any]) -> Any:
        """Each step once for all samples; those with a violation go again on their own, eased or rejected."""
        self._require_masks(data)
        with tracking(everywhere=False), maps_kept():
            wrapped = _batch_with_trace(data, self.keys, len(draws))
            out = wrapped
            with self._traced():
                for i, child in enumerate(self.transforms):
                    out = run(child, [d if d is ABSENT else d[1][i] for d in draws], out)
            given, result = (_on_the_host(batch, self.keys) for batch in (wrapped, out))  # a GPU is awaited once
            finished: dict[int, dict] = {}
            for s, draw in enumerate(draws):
                if draw is ABSENT:
                    continue
                verdict, _ = self._verdict(_sample(given, s), _sample(result, s))
                before, after = (_sample(batch, s) for batch in (wrapped, out))
                if verdict["violations"]:
                    finished[s] = {**before, **self._judged(before, draw[0])}
                else:
                    info = {"seed": draw[0], "strength": 1.0, "eased": {}, "rejected": False, "verdict": verdict}
                    finished[s] = self.with_records(after, True, dict.fromkeys(self.keys, info))
            out = _with_samples(out, finished, self.keys)
        return in_kinds_of(data, out, self.keys)


def _moves_alone(transform: Any) -> bool:
    """Whether a transform is a geometric step of ours: where other steps are eased, its result stands."""
    return isinstance(transform, DictionaryOperation) and transform.operation.geometric


def _with_trace(data: Mapping, keys: Sequence[Any]) -> dict:
    """The data with bare arrays as MetaTensors, to record the steps, with the affine of an image of equal shape."""
    out = dict(data)
    known = {k: v for k, v in out.items() if k in keys and isinstance(v, MetaTensor)}
    for key in keys:
        if key in out and key not in known:
            tensor = plain_tensor(out[key], repr(key))
            twin = next((m for m in known.values() if m.shape[1:] == tensor.shape[1:]), None)
            affine = None if twin is None else affine_of(twin)
            out[key] = MetaTensor(tensor, affine=None if affine is None else torch.tensor(affine))
    return out


def _copied(data: Mapping, keys: Sequence[Any]) -> dict:
    """The data with copies of these tensors, since other transforms may write into them."""
    return {**data, **{key: data[key].clone() for key in keys if key in data}}


def _on_the_host(data: Mapping, keys: Sequence[Any]) -> dict:
    """The data with these MetaTensors in the host's memory, where the verdict looks up single voxels."""
    out = dict(data)
    for key in keys:
        if isinstance(out.get(key), MetaTensor) and out[key].device.type != "cpu":
            with torch._C.DisableTorchFunctionSubclass():
                out[key] = with_meta(out[key].as_subclass(torch.Tensor).detach().cpu(), out[key])
    return out


def _may_be_image(item: Any, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether data under another key are real numbers on the masks' grid."""
    real = (isinstance(item, torch.Tensor) and not item.is_complex()) or (
        isinstance(item, np.ndarray) and item.dtype.kind in "biuf"
    )
    return real and item.ndim > 2 and tuple(item.shape[1:]) in shapes


def _batch_with_trace(data: Mapping, keys: Sequence[Any], count: int) -> dict:
    """A collated batch with bare tensors as MetaTensors, as `_with_trace` makes them of a sample."""
    out = dict(data)
    known = [v for k, v in out.items() if k in keys and isinstance(v, MetaTensor)]
    for key in keys:
        if key in out and not isinstance(out[key], MetaTensor):
            tensor = plain_tensor(out[key], repr(key), batch=True)
            twin = next((m for m in known if m.shape[2:] == tensor.shape[2:]), None)
            affine = torch.eye(4, dtype=torch.float64) if twin is None else twin.affine
            affine = affine if affine.ndim == 3 else affine.repeat(count, 1, 1)
            out[key] = MetaTensor(tensor, affine=affine.clone())
            out[key].is_batch, out[key].applied_operations = True, [[] for _ in range(count)]
    return out


def _sample(batch: Mapping, sample: int) -> dict:
    """One sample of a collated batch."""
    out = {}
    for key, items in batch.items():
        if isinstance(items, MetaTensor) and items.is_batch:
            tensor = plain_tensor(items, repr(key), batch=True)[sample]
            affine = items.affine[sample] if items.affine.ndim == 3 else items.affine
            out[key] = MetaTensor(tensor, affine=affine, applied_operations=samples_of(items)[sample])
        else:
            one_each = isinstance(items, (torch.Tensor, np.ndarray, list, tuple)) and len(items) > sample
            out[key] = items[sample] if one_each else items
    return out


def _with_samples(batch: Mapping, finished: Mapping[int, dict], keys: Sequence[Any]) -> dict:
    """The batch with finished samples and their traces in it."""
    out = dict(batch)
    for key in keys:
        if key not in out:
            continue
        traces = samples_of(out[key])
        tensor = plain_tensor(out[key], repr(key), batch=True)
        own = {s: plain_tensor(f[key], repr(key)) for s, f in finished.items()}
        changed = [s for s, t in own.items() if t.data_ptr() != tensor[s].data_ptr()]
        if changed:
            tensor = tensor.clone()
            put_samples(tensor, changed, torch.stack([own[s].to(tensor.dtype) for s in changed]))
        out[key] = with_meta(tensor, out[key])
        out[key].applied_operations = [
            list(finished[s][key].applied_operations) if s in finished else trace for s, trace in enumerate(traces)
        ]
    return out

"""The batch face: ``Batched(transform)`` on a collated batch, one kernel call for all samples.

A call has two phases. First each sample in turn makes its draws through the whole tree of containers; then the tree is
run once, each operation on all samples that drew it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import decollate_batch, list_data_collate
from monai.transforms.compose import Compose, OneOf, RandomOrder, SomeOf
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, Randomizable

from monai_medaug.core.call import ABSENT
from monai_medaug.core.dictionary import DictionaryOperation
from monai_medaug.core.operation import Operation
from monai_medaug.core.sample_seed import SampleSeeded
from monai_medaug.core.seeded import PassesMissingKeys, SeededContainer, keys_of, seed_children
from monai_medaug.core.tensors import plain_tensor, say_once
from monai_medaug.core.trace import push_batch_records, with_new_trace


class Batched(PassesMissingKeys, Randomizable, InvertibleTransform, MapTransform):
    """Apply a transform to a batch: each sample has its own decision and draw, each operation runs once.

    Sample i of the result equals the transform on sample i for the same draw. A Compose, OneOf or preset draws as if
    the samples came one after another; in SomeOf and RandomOrder the children may draw for the samples in another
    order. MONAI's own transforms inside are applied sample by sample, with a notice, and so is a `PreservingCompose`
    that holds some. One of our own steps judges each sample, and repeats those with a violation on their own. Each
    sample's trace gets its own record, so that the report, `replay`, and ``decollate_batch`` then ``inverse`` work as
    on a single sample.

    Besides its result an operation holds at most about twice as much memory: a larger batch is processed in pieces of
    whole samples; the values agree up to rounding.

    Args:
        transform: one of our array transforms or a Compose of them (for a tensor (B, C, *spatial)), a dictionary twin,
            a preset, or a Compose, OneOf, SomeOf or RandomOrder of them (for a dictionary of ``list_data_collate``).

    Raises:
        ValueError: the batch is not collated, or its keys hold different numbers of samples.

    Example:
        >>> import torch
        >>> from monai_medaug.transforms import RandCTDose
        >>> noisy = Batched(RandCTDose(prob=0.6)).set_random_state(0)(torch.zeros(4, 1, 32, 32))
        >>> [bool(n) for n in noisy.flatten(1).std(dim=1) > 0]
        [True, False, False, False]
    """

    def __init__(self, transform: Any) -> None:
        self.transform: Any = transform.transform if isinstance(transform, Batched) else transform
        self.keys: tuple = keys_of([self.transform])

    def parts(self) -> Iterable[Any]:
        return [self.transform]

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Batched:
        """Pass the seed to the transform, unchanged."""
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Any) -> Any:
        """Apply to a tensor (B, C, *spatial) or a dictionary of them."""
        if isinstance(data, Mapping):
            size = next((len(data[key]) for key in self.keys if key in data), 0)
        else:
            size = len(plain_tensor(data, "batch", batch=True, accepts_complex=True))
        return _run(self.transform, [_drawn(self.transform, data, sample, False) for sample in range(size)], data)

    def inverse(self, data: Any) -> Any:
        """Undo on one sample after ``decollate_batch``; its records are those of the transform itself."""
        with self.lenient(data):
            return self.transform.inverse(data)


# ---- the draws of one sample -----------------------------------------------------------------------------------


def _drawn(transform: Any, data: Any, sample: int, reseeded: bool) -> Any:
    """The draws of a sample, as `_run` takes them; ``reseeded`` if the next sample seeds the transform anew."""
    if _has_batch_face(transform):
        return (transform.operation if isinstance(transform, DictionaryOperation) else transform).next_params()
    if isinstance(transform, SeededContainer):
        return transform.batch_draw(data, sample, lambda child: _drawn(child, data, sample, True))
    if isinstance(transform, SampleSeeded):
        seed_children([transform.transform], transform.seeds.of(data, sample))
        return _drawn(transform.transform, data, sample, True)
    if type(transform) is Compose:
        return [_drawn(t, data, sample, reseeded) for t in transform.transforms]
    if isinstance(transform, (OneOf, SomeOf, RandomOrder)):
        order = _order(transform) if transform.transforms else []
        return [(index, _drawn(transform.transforms[index], data, sample, reseeded)) for index in order]
    return deepcopy(transform) if reseeded else transform


def _has_batch_face(transform: Any) -> bool:
    if isinstance(transform, DictionaryOperation):
        return not (transform.point_keys or transform.box_keys or transform.operation.takes_batches)
    return isinstance(transform, Operation) and not transform.takes_batches


def _order(container: OneOf | SomeOf | RandomOrder) -> list[int]:
    """The children for a sample, in order, drawn as the container draws them."""
    count = len(container.transforms)
    if isinstance(container, OneOf):
        return [int(container.R.multinomial(1, container.weights).argmax())]
    if isinstance(container, RandomOrder):
        return [int(i) for i in container.R.permutation(range(count))]
    size = container.R.randint(container.min_num_transforms, container.max_num_transforms + 1)
    return [int(i) for i in container.R.choice(count, size, replace=container.replace, p=container.weights)]


# ---- the calls -------------------------------------------------------------------------------------------------


def _run(transform: Any, draws: list[Any], data: Any) -> Any:
    """Apply to all samples except those whose draw is ABSENT."""
    if _has_batch_face(transform):
        return _run_operation_once(transform, draws, data)
    if isinstance(transform, SeededContainer) and transform.runs_on_batches:
        return transform.run_batch(data, draws, _run)
    if isinstance(transform, SampleSeeded):
        return _run(transform.transform, draws, data)
    if type(transform) is Compose:
        for i, child in enumerate(transform.transforms):
            data = _run(child, [d if d is ABSENT else d[i] for d in draws], data)
        return data
    if isinstance(transform, (OneOf, SomeOf, RandomOrder)):
        return _run_choice(transform, draws, data)
    return _run_each(transform, draws, data)


def _run_operation_once(transform: Any, draws: list[Any], data: Any) -> Any:
    name = type(transform).__name__
    if not isinstance(transform, DictionaryOperation):
        if isinstance(data, Mapping):
            raise TypeError(f"batch must be a tensor for {name}, got a dictionary: use {name}d")
        return transform.run(name, [transform.entry(data, "batch", batched=True)], draws).results[0]
    entries = transform.entries(data, batched=True)
    results = transform.operation.run(name, entries, draws).results
    return {**data, **{transform.keys[e.index]: r for e, r in zip(entries, results, strict=True)}}


def _run_choice(container: OneOf | SomeOf | RandomOrder, draws: list[Any], data: Any) -> Any:
    """Run, position by position, each child on the samples that have it there; then add the container's records."""
    for position in range(max((len(d) for d in draws if d is not ABSENT), default=0)):
        here = [d[position] if d is not ABSENT and position < len(d) else (None, ABSENT) for d in draws]
        for index, child in enumerate(container.transforms):
            if any(chosen == index for chosen, _ in here):
                data = _run(child, [draw if chosen == index else ABSENT for chosen, draw in here], data)
    one = isinstance(container, OneOf)
    infos = [
        ABSENT if d is ABSENT else {"index": d[0][0]} if one and d else {"applied_order": [i for i, _ in d]}
        for d in draws
    ]
    return _with_container_records(data, container, infos) if container.transforms else data


def _with_container_records(data: Any, container: Any, infos: list[Any]) -> Any:
    """Add MONAI's record of a container to each sample of each MetaTensor, as its `__call__` does."""
    out = dict(data) if isinstance(data, Mapping) else {None: data}
    for key, item in out.items():
        if isinstance(item, MetaTensor) and container.tracing:
            own = container.get_transform_info() | {"orig_size": tuple(item.shape[2:])}
            out[key] = with_new_trace(item)
            push_batch_records(out[key], [i if i is ABSENT else own | {"extra_info": i} for i in infos])
    return out if isinstance(data, Mapping) else out[None]


def _run_each(transform: Any, draws: list[Any], data: Any) -> Any:
    """Apply a transform without a batch face sample by sample."""
    name = transform.label if isinstance(transform, SeededContainer) else type(transform).__name__
    say_once(f"Batched applies {name} sample by sample: it has no batch face")

    def result(sample: Any, draw: Any) -> Any:
        if draw is ABSENT:
            return sample
        return transform.run_seeded(sample, draw) if isinstance(transform, SeededContainer) else draw(sample)

    if isinstance(data, Mapping):
        samples = decollate_batch(dict(data))
    else:
        samples = decollate_batch(data) if isinstance(data, MetaTensor) else list(data)
    results = [result(s, d) for s, d in zip(samples, draws, strict=True)]
    if not all(isinstance(r, Mapping) for r in (*samples, *results)):
        return list_data_collate(results)
    return _with_results(data, samples, results, keys_of([transform]))


def _with_results(data: Mapping, samples: list[Any], results: list[Any], touched: tuple) -> dict:
    """The batch with what a step changed; other keys keep their objects, which collating would cast and move.

    A MetaTensor under one of the step's keys counts as changed: MONAI writes into its trace.
    """
    for key in {k: None for r in results for k in r}:
        found = sum(key in r for r in results)
        if found < len(results):
            raise ValueError(
                f"{key!r} must be in all samples of the batch or in none after a step, got {found} of {len(results)}"
            )
    kept = {
        key
        for key in data
        if all(key in r and r[key] is s[key] for r, s in zip(results, samples, strict=True))
        and not (isinstance(data[key], MetaTensor) and (not touched or key in touched))
    }
    fresh = {key: [r[key] for r in results] for key in results[0] if key not in kept}
    collated = list_data_collate([{k: v[i] for k, v in fresh.items()} for i in range(len(results))]) if fresh else {}
    for key, values in fresh.items():
        old, new = data.get(key), collated[key]
        if (
            isinstance(old, torch.Tensor)
            and isinstance(new, torch.Tensor)
            and isinstance(values[0], (bool, int, float))
        ):
            dtype = old.dtype if torch.can_cast(new.dtype, old.dtype) else new.dtype
            collated[key] = new.to(old.device, dtype)
    return {key: data[key] if key in kept else collated[key] for key in results[0]}

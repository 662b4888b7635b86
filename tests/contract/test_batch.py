"""The batch face: sample by sample what the array and dictionary faces give, in one call."""

import copy
import pickle

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate, set_track_meta
from monai.transforms import Compose, Invertd

from monai_medaug.transforms import Batched, augmentation_report, replay

from .cases import (
    AFFINE,
    RANDOM_CASES,
    Case,
    assert_untouched,
    cast,
    contract,
    distance,
    exact,
    meta_tensor,
    records,
    same,
    snapshot,
    voxels,
)


def runs(case: Case) -> list[tuple[dict, int]]:
    """Arguments and a seed: all samples applied and, for random ones, some of four skipped and some not."""
    if not case.random:
        return [({}, 0)]
    transform = case.array(prob=0.5)

    def decisions(seed: int) -> set[bool]:
        transform.set_random_state(seed)
        return {transform.randomize() or transform._do_transform for _ in range(4)}

    return [({"prob": 1.0}, 2), ({"prob": 0.5}, next(s for s in range(99) if len(decisions(s)) == 2))]


def samples(case: Case, dims: int, traced: bool = True, dtype=None, count: int = 4) -> list[MetaTensor]:
    """Different images of different spacing."""
    image = case.image(dims)
    flips = [cast(x, dtype or image.dtype) for x in (image, image.flip(1), image.flip(-1), image.flip(1, -1))]
    scale = [torch.diag(torch.tensor([s, s, s, 1.0], dtype=torch.float64)) for s in (1, 0.8, 1, 1.3)]
    return [meta_tensor(flips[i % 4], AFFINE @ scale[i % 4], traced) for i in range(count)]


def check_array_face(case: Case) -> None:
    """Sample i of a batched array class is the array class on sample i, for the same seed."""
    for dims in case.dims:
        for changes, seed in runs(case):
            single = case.array(seed, **changes)
            wanted = [single(s) for s in samples(case, dims)]
            batched = Batched(case.array(999, **changes))
            batched.set_random_state(seed)
            batch = list_data_collate(samples(case, dims))
            out = batched(batch)
            assert type(out) is MetaTensor
            assert out.shape == (len(batch), *case.out_shape(batch[0]))
            for i, (a, b) in enumerate(zip(out, wanted, strict=True)):
                assert distance(a, b) < 1e-6, f"sample {i} {dims}D {changes} differs by {distance(a, b):.1e}"
            decisions = {trace[-1]["do_transforms"] for trace in out.applied_operations}
            assert decisions == ({True, False} if changes.get("prob") == 0.5 else {True})
            plain = Batched(case.array(seed, **changes))(batch.as_tensor())
            assert type(plain) is torch.Tensor
            array = Batched(case.array(seed, **changes))(batch.as_tensor().numpy())
            assert isinstance(array, np.ndarray)
            assert same(array, plain)


def check_dictionary_face(case: Case) -> None:
    """The same for a twin of two keys, with each sample's record on each key, and the other keys kept."""
    for dims in case.dims:
        for changes, seed in runs(case):
            keys = ("a", "b")
            single = case.twin(keys, seed, **changes)
            items = [{"a": a, "b": b, "id": i} for i, (a, b) in enumerate(zip(*[samples(case, dims)] * 2, strict=True))]
            wanted = [single(item) for item in items]
            twin = case.twin(keys, 999, **changes)
            out = Batched(twin).set_random_state(seed)(list_data_collate(items))
            assert out["id"].tolist() == [0, 1, 2, 3]
            for i, (found, single_out) in enumerate(zip(decollate_batch(out), wanted, strict=True)):
                for key in keys:
                    off = distance(found[key], single_out[key])
                    assert off < 1e-6, f"sample {i} {key} {dims}D {changes} differs by {off:.1e}"
                    mine, theirs = records(found[key]), records(single_out[key])
                    assert len(mine) == 1
                    assert mine[0]["extra_info"]["uid"] == twin.operation.uid
                    for entry in ("class", "do_transforms", "orig_size"):
                        assert mine[0][entry] == theirs[0][entry]
                    for entry in ("params", "grid", "key"):
                        assert mine[0]["extra_info"].get(entry) == theirs[0]["extra_info"].get(entry)


def check_batch_untouched(case: Case) -> None:
    """The caller's batch keeps values, meta data and its lists, which MONAI shares among a batch's tensors."""
    for traced in (True, False):
        batch = list_data_collate([{"a": s, "b": s} for s in samples(case, case.dims[-1], traced)])
        before = {key: snapshot(batch[key]) for key in "ab"}
        lists = {key: [id(t) for t in batch[key].applied_operations] for key in "ab"}
        Batched(case.twin(("a", "b")))(batch)
        Batched(case.array())(batch["a"])
        for key in "ab":
            assert_untouched(batch[key], before[key], "batch")
            assert [id(t) for t in batch[key].applied_operations] == lists[key]


def check_types(case: Case) -> None:
    """The rule for types holds with and without a skipped sample."""
    for dtype in case.dtypes:
        for changes, seed in runs(case):
            batch = torch.stack([voxels(s) for s in samples(case, case.dims[0], dtype=dtype)])
            out = Batched(case.array(seed, **changes))(batch)
            wanted = dtype if dtype.is_floating_point or dtype.is_complex else torch.float32
            assert out.dtype == wanted, f"{dtype} came back as {out.dtype}"
            if changes.get("prob") == 0.5:
                pairs = zip(out, batch, strict=True)
                kept = [torch.equal(exact(a).double(), exact(b).double()) for a, b in pairs]
                assert any(kept), "no sample was skipped"


def check_invertd(case: Case) -> None:
    """decollate_batch, then Invertd with the transform inside, leaves no record of it and undoes geometry."""
    dims = case.dims[-1]
    twin = case.twin()
    items = [{"image": s} for s in samples(case, dims, traced=False)]
    out = Batched(twin)(list_data_collate(items))
    for item, applied in zip(items, decollate_batch(out), strict=True):
        back = Invertd("image", Compose([copy.deepcopy(twin)]), nearest_interp=False)(applied)["image"]
        assert back.applied_operations == []
        through = Invertd("image", Compose([Batched(twin)]), nearest_interp=False)(applied)["image"]
        assert same(back, through)
        assert through.applied_operations == []
        inner = (slice(None), *[slice(n // 4, n - n // 4) for n in back.shape[1:]])
        left = (exact(back) - exact(item["image"]))[inner].abs().mean()
        if case.keeps_grid:
            moved = (exact(applied["image"]) - exact(item["image"]))[inner].abs().mean()
        else:
            moved = 0.05 * (item["image"].max() - item["image"].min())
        assert left < 0.5 * moved if case.geometric else same(back.as_tensor(), applied["image"].as_tensor())


def check_batch_that_was_not_collated(case: Case) -> None:
    """A MetaTensor that says it is one sample has one trace and one affine: refused, not misread."""
    stack = torch.stack([voxels(s) for s in samples(case, case.dims[0])])
    with pytest.raises(ValueError, match="batch must be collated"):
        Batched(case.array())(MetaTensor(stack))
    with pytest.raises(ValueError, match="'image' must be collated"):
        Batched(case.twin())({"image": MetaTensor(stack)})


def check_report_and_replay(case: Case) -> None:
    """A batch has a report for each sample, and each replays that sample."""
    items = [{"image": s} for s in samples(case, case.dims[-1], traced=False)]
    out = Batched(case.twin())(list_data_collate(items))
    reports = augmentation_report(out)
    assert len(reports) == len(items)
    for item, report, wanted in zip(items, reports, decollate_batch(out), strict=True):
        if case.cls.replayable:
            with pytest.raises(ValueError, match=f"can't be replayed: {case.cls.replayable}"):
                replay(item, report)
            continue
        assert distance(replay(item, report.to_json())["image"], wanted["image"]) < 1e-6


def check_compose(case: Case) -> None:
    """A Compose of two draws as if the samples came one after another."""
    chain = Compose([case.twin("a"), case.twin("b")])
    items = [{"a": a, "b": a} for a in samples(case, case.dims[0])]
    chain.set_random_state(2)
    wanted = [chain(item) for item in items]
    out = Batched(chain).set_random_state(2)(list_data_collate(items))
    for found, single in zip(decollate_batch(out), wanted, strict=True):
        assert all(distance(found[key], single[key]) < 1e-6 for key in "ab")


def check_edges(case: Case) -> None:
    """One sample, tracking off, wrong rank, a missing key, pickling."""
    dims = case.dims[0]
    one = list_data_collate(samples(case, dims, count=1))
    assert distance(Batched(case.array())(one)[0], case.array()(samples(case, dims)[0])) < 1e-6
    with pytest.raises(ValueError, match="batch"):
        Batched(case.array())(torch.zeros(4, 5))
    with pytest.raises(KeyError, match="image"):
        Batched(case.twin())({"other": one})
    with pytest.raises(ValueError, match="'b' must have the batch size of 'a', 1, got 2"):
        Batched(case.twin(("a", "b")))({"a": one, "b": torch.cat([voxels(one)] * 2)})
    lenient = Batched(case.twin())
    lenient.allow_missing_keys = True
    assert lenient.transform.allow_missing_keys
    assert lenient({"other": 1}) == {"other": 1}
    set_track_meta(False)
    try:
        out = Batched(case.array())(one)
    finally:
        set_track_meta(True)
    assert type(out) is torch.Tensor
    original = Batched(case.array())
    again = pickle.loads(pickle.dumps(original))
    assert same(original(one), again(one))
    bad = torch.stack([voxels(s) for s in samples(case, dims)])
    bad[2] *= float("nan")
    with pytest.raises(ValueError, match=r"finite|NaN"):
        Batched(case.array())(bad)


@contract(
    [
        check_array_face,
        check_dictionary_face,
        check_batch_untouched,
        check_types,
        check_invertd,
        check_batch_that_was_not_collated,
        check_report_and_replay,
        check_compose,
        check_edges,
    ]
)
def test_batch(check, case):
    check(case)


def check_samples_differ(case: Case) -> None:
    """Equal images in a batch get draws and noise of their own."""
    image = voxels(case.image())
    out = Batched(case.array())(torch.stack([image] * 4))
    equal = [(i, j) for i in range(4) for j in range(i) if torch.equal(out[i], out[j])]
    assert not equal, f"samples {equal} came out alike"


@contract([check_samples_differ], RANDOM_CASES)
def test_batch_of_equals(check, case):
    check(case)

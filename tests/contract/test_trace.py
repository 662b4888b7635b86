"""The trace: plain records, inverse and replay from them, and MONAI's caches that store them."""

import io
import json
import pickle
import warnings

import pytest
import torch
from monai.data import MetaTensor, PersistentDataset
from monai.transforms import Compose, Invertd, RandFlipd
from monai.utils.enums import TraceKeys

from monai_medaug.core.contract import REGISTRY
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.transforms import augmentation_report, replay

from .cases import (
    CASES,
    GEOMETRIC_CASES,
    Case,
    contract,
    exact,
    labels,
    meta_tensor,
    records,
    same,
    voxels,
)


def plain(value, where: str) -> None:
    """Fail unless a value is made of str, int, float, bool and lists and dicts of these."""
    if type(value) is dict:
        for key, inner in value.items():
            assert type(key) is str or isinstance(key, TraceKeys), f"{where} has the key {key!r}"
            plain(inner, f"{where}.{key}")
    elif type(value) is list:
        for i, inner in enumerate(value):
            plain(inner, f"{where}[{i}]")
    else:
        assert type(value) in (str, int, float, bool), f"{where} is {type(value).__name__} {value!r}"


def places(value, key: str, path: tuple = ()) -> list[tuple]:
    """Where a key stands, however deep."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [(*path, k) for k, _ in inner if k == key]
    return found + [p for k, v in inner for p in places(v, key, (*path, k))]


def outputs(case: Case) -> list[MetaTensor]:
    """A result of each face in each number of dimensions, applied and skipped."""
    found = []
    for dims in case.dims:
        data = meta_tensor(case.image(dims))
        for changes in ({}, {"prob": 0.0}) if case.random else ({},):
            twin = case.twin(("other", "image"), allow_missing_keys=True, **changes)
            found += [case.array(**changes)(data), twin({"image": data})["image"]]
    return found


def check_records_are_plain(case: Case) -> None:
    """One record a call, in MONAI's form, of plain values only, without an ``id``, and JSON keeps it."""
    for out in outputs(case):
        record = out.applied_operations[-1]
        plain(record, case.cls.__name__)
        assert "id" not in record
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        assert record["class"] in REGISTRY
        assert REGISTRY[record["class"]] is case.cls
        grid, applied = VoxelGrid(tuple(record["orig_size"])), record["do_transforms"]
        assert (case.cls.out_grid(grid, record["extra_info"]["params"]) if applied else grid).shape == out.shape[1:]
        assert record["tracing"] is True
        assert record["lazy"] is False


def check_mode_means_interpolation(case: Case) -> None:
    """``extra_info["mode"]`` is there where voxels are interpolated, and nowhere else: `Invertd` rewrites it."""
    for out in outputs(case):
        record = out.applied_operations[-1]
        wanted = [("extra_info", "mode")] if case.geometric else []
        assert places(record, "mode") == wanted, f"'mode' stands at {places(record, 'mode')}"
        assert places(record, "align_corners") == []
        if case.geometric:
            assert record["extra_info"]["mode"] in ("bilinear", "nearest")


def check_one_uid_for_all_keys(case: Case) -> None:
    """Each instance has a uid of its own, in all its records."""
    twin, image = case.twin(("a", "b")), meta_tensor(case.image())
    out = twin({"a": image, "b": image})
    uids = {r["extra_info"]["uid"] for key in "ab" for r in records(out[key])}
    assert uids == {twin.operation.uid}
    other = case.array()(image)
    assert records(other)[0]["extra_info"]["uid"] not in uids


def check_tracing_off(case: Case) -> None:
    """Without tracing the result is the same and leaves no record."""
    data = meta_tensor(case.image())
    wanted = case.array()(data)
    array, twin = case.array(), case.twin()
    array.tracing = twin.tracing = False
    for out in (array(data), twin({"image": data})["image"]):
        assert same(out, wanted)
        assert len(out.applied_operations) == 1, "tracing is off, but there is a record"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_TRACE_TRANSFORM", "0")
        for out in (case.array()(data), case.twin()({"image": data})["image"]):
            assert len(out.applied_operations) == 1, "MONAI_TRACE_TRANSFORM is 0, but there is a record"


def check_saved_with_weights_only(case: Case) -> None:
    """What MONAI's caches do: a result comes back from a file that is loaded with ``weights_only=True``."""
    for out in outputs(case):
        buffer = io.BytesIO()
        torch.save(out, buffer)
        buffer.seek(0)
        back = torch.load(buffer, weights_only=True)
        assert same(back, out)
        assert back.applied_operations == out.applied_operations
        assert torch.equal(back.affine, out.affine)


def check_replay(case: Case) -> None:
    """Report, then replay from the object, a dictionary or JSON text, on each face: equal voxels."""
    for dims in case.dims:
        image = meta_tensor(case.image(dims), traced=False)
        out = case.array(seed=3)(image)
        report = augmentation_report(out)
        if case.cls.replayable:
            with pytest.raises(ValueError, match=f"can't be replayed: {case.cls.replayable}"):
                replay(image, report)
            return
        for form in (report, dict(report), report.to_json()):
            assert same(replay(image, form), out), "replay of the array face differs"
        data = {"a": image, "b": image.clone()}
        twin = case.twin(("a", "b"), seed=4)
        out = twin(data)
        report = augmentation_report(out)
        for form in (report, json.loads(report.to_json())):
            again = replay(data, form)
            assert same(again["a"], out["a"]), "replay of the dictionary face differs"
            assert same(again["b"], out["b"]), "replay of a second key differs"


@contract(
    [
        check_records_are_plain,
        check_mode_means_interpolation,
        check_one_uid_for_all_keys,
        check_tracing_off,
        check_saved_with_weights_only,
        check_replay,
    ]
)
def test_trace(check, case):
    check(case)


# ---- inverse -----------------------------------------------------------------------------------------------------


def middle(data) -> torch.Tensor:
    """The inner half of each axis, where an inverse has its values."""
    tensor = exact(data)
    return tensor[(slice(None), *[slice(n // 4, n - n // 4) for n in tensor.shape[1:]])]


def assert_undone(case: Case, back, applied, image, flipped: bool, what: str) -> None:
    """Geometry is undone; an intensity step keeps its values (flipped back) and only loses its record."""
    assert back.applied_operations == image.applied_operations, f"{what}: records are left"
    assert torch.allclose(back.affine, image.affine)
    if not case.keeps_grid:
        extent = float(image.max() - image.min())
        assert float((middle(back) - middle(image)).abs().max()) < 0.05 * extent, f"{what}: the grid is not undone"
    elif case.geometric:
        error = (middle(back) - middle(image)).abs().mean()
        assert error < 0.5 * (middle(applied) - middle(image)).abs().mean(), f"{what}: geometry is not undone"
    else:
        values = applied.flip(1) if flipped else applied
        assert same(voxels(back), voxels(values)), f"{what}: an intensity step changed values on inversion"


def check_inverse(case: Case) -> None:
    """The own inverse of each face, and `Compose.inverse` with MONAI's RandFlipd in the chain."""
    for dims in case.dims:
        image = meta_tensor(case.image(dims))
        array, twin = case.array(), case.twin()
        out = array(image)
        assert_undone(case, array.inverse(out), out, image, False, f"array {dims}D")
        out = twin({"image": image})
        assert_undone(case, twin.inverse(out)["image"], out["image"], image, False, f"twin {dims}D")
        for chain in ([RandFlipd("image", prob=1.0, spatial_axis=0), twin], [twin, RandFlipd("image", 1.0, 0)]):
            pipeline = Compose(chain).set_random_state(0)
            fresh = meta_tensor(case.image(dims))
            out = pipeline({"image": fresh})
            plainly = out["image"] if not case.geometric else out["image"].flip(1)
            back = pipeline.inverse(out)["image"]
            assert_undone(case, back, plainly, image, not case.geometric, f"Compose.inverse {dims}D")


def check_inverse_after_pickling(case: Case) -> None:
    """A pickled copy, as a worker holds it, inverts what the original did, with MONAI's own step beside it."""
    flip, twin = RandFlipd("image", prob=1.0, spatial_axis=0), case.twin()
    image = meta_tensor(case.image())
    out = Compose([flip, twin]).set_random_state(0)({"image": image})
    copy = pickle.loads(pickle.dumps(twin))
    back = Compose([flip, copy]).inverse(out)["image"]
    plainly = out["image"] if not case.geometric else out["image"].flip(1)
    assert_undone(case, back, plainly, image, not case.geometric, "after pickling")
    array = case.array()
    out = array(image)
    assert_undone(case, pickle.loads(pickle.dumps(array)).inverse(out), out, image, False, "array after pickling")


def check_invertd(case: Case) -> None:
    """MONAI's Invertd moves a prediction back, nearest or as recorded."""
    for dims in case.dims:
        image = meta_tensor(case.image(dims), traced=False)
        pipeline = Compose([RandFlipd("image", 1.0, 0), case.twin()]).set_random_state(0)
        out = pipeline({"image": image})
        prediction = labels(out["image"].shape[1:], torch.float32)
        for nearest in (True, False):
            data = {**out, "prediction": MetaTensor(prediction.clone())}
            back = Invertd("prediction", pipeline, orig_keys="image", nearest_interp=nearest)(data)["prediction"]
            assert back.applied_operations == []
            assert back.shape == image.shape
            new = set(back.unique().tolist()) - set(prediction.unique().tolist())
            assert bool(new) == (case.geometric and not case.cls.permutes and not nearest), (
                f"nearest_interp={nearest}: new values {new}"
            )
            if not case.geometric:
                assert same(back.as_tensor(), prediction.flip(1))


@contract([check_inverse, check_inverse_after_pickling, check_invertd])
def test_inverse(check, case):
    check(case)


def check_missing_trace_is_said(case: Case) -> None:
    """Geometry without a trace can't be undone, and says so naming the key; a dictionary may lack the key."""
    twin = case.twin()
    for data, word in ((case.image(), "MetaTensor"), (meta_tensor(case.image()), "record")):
        with pytest.raises(ValueError, match=f"'image'.*{word}"):
            twin.inverse({"image": data})
    assert twin.inverse({"other": 1}) == {"other": 1}


@contract([check_missing_trace_is_said], GEOMETRIC_CASES)
def test_inverse_without_trace(check, case):
    check(case)


# ---- caches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_persistent_dataset(case, tmp_path):
    """With ``track_meta=True`` the cached file is read again, not found corrupt and computed anew."""
    data = [{"image": meta_tensor(case.image(), traced=False)}]
    pipeline = Compose([case.twin()]).set_random_state(0)
    first = PersistentDataset(data, pipeline, tmp_path, track_meta=True)[0]["image"]
    files = list(tmp_path.glob("*.pt"))
    assert len(files) == 1
    cached = torch.load(files[0], weights_only=True)["image"]
    assert same(cached, data[0]["image"] if case.random else first), "a random step was cached, or a fixed one was not"
    assert len(records(cached)) == (not case.random)
    stamp = files[0].stat().st_mtime_ns
    pipeline.set_random_state(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        second = PersistentDataset(data, pipeline, tmp_path, track_meta=True)[0]["image"]
    assert not [w for w in caught if "corrupt" in str(w.message).lower()]
    assert files[0].stat().st_mtime_ns == stamp, "the cache was computed anew"
    assert same(first, second)
    assert second.applied_operations[-1] == first.applied_operations[-1]

"""The arguments of a call, as MONAI's transforms take them: ``randomize``, ``mode``, ``padding_mode`` and ``lazy``."""

import json
import pickle

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd
from monai.utils.enums import GridSampleMode, GridSamplePadMode, InterpolateMode, SplineMode

from monai_medaug.transforms import RandAffineElasticd, augmentation_report, replay

from .cases import (
    CASES,
    MOVING_CASES,
    RANDOM_CASES,
    Case,
    as_kind,
    contract,
    exact,
    labels,
    meta_tensor,
    records,
    same,
)

LINEAR = ("bilinear", "trilinear", "linear", 1, np.int64(1), "1")
LINEAR += (GridSampleMode.BILINEAR, InterpolateMode.TRILINEAR, InterpolateMode.BILINEAR, SplineMode.ONE)
NEAREST = ("nearest", "nearest-exact", 0, np.int64(0), "0")
NEAREST += (GridSampleMode.NEAREST, InterpolateMode.NEAREST, InterpolateMode.NEAREST_EXACT, SplineMode.ZERO)


def check_randomize_false_repeats_the_draw(case: Case) -> None:
    """``randomize=False`` uses the last draw, of a call or of ``randomize()``, and takes nothing from the stream."""
    image = meta_tensor(case.image())
    transform = case.array(seed=3)
    first = transform(image)
    again = transform(image, randomize=False)
    assert same(first, again)
    assert records(first)[-1]["extra_info"] == records(again)[-1]["extra_info"]
    fresh = case.array(seed=3)
    assert same(fresh(image), first)
    assert same(fresh(image), transform(image)), "the repeated call took from the random stream"
    fresh = case.array(seed=3)
    fresh.randomize()
    assert same(fresh(image, randomize=False), first)
    twin = case.twin(seed=3)
    assert same(twin({"image": image})["image"], twin.operation(image, randomize=False))
    assert same(pickle.loads(pickle.dumps(fresh))(image, randomize=False), first)


def check_randomize_false_of_a_skipped_call(case: Case) -> None:
    """A draw that skipped the call skips it again: the input's values stay, and the record says so."""
    for kind in ("numpy", "tensor", "meta"):
        image = as_kind(case.image(), kind)
        transform = case.array(prob=0.0)
        transform(image)
        transform.prob = 1.0
        out = transform(image, randomize=False)
        assert type(out) is type(image)
        assert same(out, image)
    assert [r["do_transforms"] for r in records(out)] == [False]


def check_randomize_false_before_a_draw(case: Case) -> None:
    """Without a draw there is nothing to repeat, and the error says what to do."""
    with pytest.raises(RuntimeError, match=f"{case}.*randomize\\(\\)"):
        case.array()(case.image(), randomize=False)
    with pytest.raises(ValueError, match="randomize must be True or False"):
        case.array()(case.image(), randomize=case.image())


@contract(
    [
        check_randomize_false_repeats_the_draw,
        check_randomize_false_of_a_skipped_call,
        check_randomize_false_before_a_draw,
    ],
    RANDOM_CASES,
)
def test_randomize(check, case):
    check(case)


def check_twins_take_lazy(case: Case) -> None:
    """A twin takes ``lazy`` as MONAI's do, and executes at once."""
    image = meta_tensor(case.image())
    wanted = case.twin(seed=2)({"image": image})["image"]
    for lazy in (True, False, None):
        out = case.twin(seed=2)({"image": image}, lazy=lazy)["image"]
        assert same(out, wanted)
        assert not out.has_pending_operations


@contract([check_twins_take_lazy], CASES)
def test_lazy(check, case):
    check(case)


# ---- mode and padding --------------------------------------------------------------------------------------------


def check_mode_of_a_call(case: Case) -> None:
    """A call's mode and padding are those of a transform made with them: values, record, report, replay, inverse."""
    for dims in case.dims:
        mask = labels(case.image(dims).shape[1:], torch.uint8)
        for mode, padding in (("nearest", "zeros"), ("bilinear", -1000), ("nearest", 255), ("bilinear", "reflection")):
            made = case.array(seed=5, mode=mode, padding_mode=padding)
            called = case.array(seed=5, mode="bilinear" if mode == "nearest" else "nearest")
            wanted, out = made(meta_tensor(mask)), called(meta_tensor(mask), mode=mode, padding_mode=padding)
            assert same(wanted, out)
            ours, theirs = (dict(records(x)[-1]["extra_info"], uid=None) for x in (out, wanted))
            assert ours == theirs
            assert same(made.inverse(wanted), called.inverse(out))
            report = augmentation_report(out).to_json()
            assert same(replay(meta_tensor(mask), report), out)
        lazy = case.array(seed=5)(meta_tensor(mask), mode="nearest", padding_mode="zeros", lazy=True)
        assert same(lazy, case.array(seed=5, mode="nearest", padding_mode="zeros")(meta_tensor(mask)))
        assert not lazy.has_pending_operations


def check_names_of_modes(case: Case) -> None:
    """MONAI's names, enums and orders mean ours, in constructors, per key and per call; the record holds ours."""
    image = meta_tensor(case.image())
    for names, ours in ((LINEAR, "bilinear"), (NEAREST, "nearest")):
        wanted = case.array(seed=1, mode=ours)(image)
        for name in names:
            twin = case.twin(("a", "b"), seed=1, mode=(name, "nearest"))({"a": image, "b": image})["a"]
            for out in (case.array(seed=1, mode=name)(image), case.array(seed=1)(image, mode=name), twin):
                assert same(out, wanted), f"mode {name!r}"
                found = records(out)[-1]["extra_info"]["mode"]
                assert type(found) is str
                assert found == ours
    for pad in GridSamplePadMode:
        wanted = case.array(seed=1, padding_mode=str(pad))(image)
        for out in (
            case.array(seed=1, padding_mode=pad)(image),
            case.array(seed=1)(image, padding_mode=pad),
            case.twin(seed=1, padding_mode=[pad])({"image": image})["image"],
        ):
            assert same(out, wanted)
            assert type(records(out)[-1]["extra_info"]["padding"]) is str
            json.dumps(records(out)[-1])
    masks = case.twin(("image", "mask"), seed=1, mode=(1, 0), padding_mode=-1000)
    assert masks.paddings == (-1000.0, 0.0), "a number as padding means 0 for a mask, however its mode is called"


def check_other_modes_are_refused(case: Case) -> None:
    """Orders above 1 and unknown names are refused by every face in the same words, with what there is."""
    image = case.image()
    for bad in (3, "3", SplineMode.THREE, "bicubic", InterpolateMode.AREA, True, False, 1.5, None, ["bilinear"]):
        makes = [
            lambda bad=bad: case.array(mode=bad),
            lambda bad=bad: case.twin(("a", "b"), mode=("nearest", bad)),
            lambda bad=bad: case.array()(image, mode=bad),
        ]
        for make in makes[: 2 if bad is None else 3]:  # None in a call means the constructor's
            with pytest.raises(ValueError, match=r"mode must be .*bilinear.*nearest.*got"):
                make()
    for bad in ("wrap", float("nan"), [1, 2], True):
        with pytest.raises(ValueError, match="padding_mode must be"):
            case.array(padding_mode=bad)
        with pytest.raises(ValueError, match="padding_mode must be"):
            case.array()(image, padding_mode=bad)


@contract([check_mode_of_a_call, check_names_of_modes, check_other_modes_are_refused], MOVING_CASES)
def test_modes(check, case):
    check(case)


def test_a_prediction_is_not_padded_with_the_images_number():
    """Invertd turns the image's record to "nearest" for a prediction, where the image's -1000 HU mean no label."""
    image = MetaTensor(torch.zeros(1, 40, 40))
    move = RandAffineElasticd("image", prob=1.0, translate_fraction=(0.2, 0.2), padding_mode=-1000)
    data = move({"image": image})
    data["pred"] = MetaTensor(torch.ones(1, 40, 40, dtype=torch.uint8))
    back = Invertd("pred", move, orig_keys="image")(data)["pred"]
    assert exact(back).unique().tolist() == [0, 1]
    assert float(move.inverse(data)["image"].min()) == -1000

"""Bad input is refused with an error that names the argument or key; nothing bad is spread silently."""

import inspect
import warnings

import numpy as np
import pytest
import torch

from ..notices import unsaid
from .cases import (
    AFFINE,
    CASES,
    GEOMETRIC_CASES,
    RANDOM_CASES,
    Case,
    as_kind,
    assert_untouched,
    contract,
    meta_tensor,
    records,
    same,
    snapshot,
)


def refused(case: Case, data, error: type[Exception], words: str = "") -> None:
    """Both faces raise, and name the argument or the key."""
    with pytest.raises(error, match=f"img.*{words}"):
        case.array()(data)
    with pytest.raises(error, match=f"'scan'.*{words}"):
        case.twin("scan")({"scan": data})


def check_nan_and_inf(case: Case) -> None:
    """One NaN or Inf among the voxels is found, in every floating type and kind."""
    for dims in case.dims:
        for dtype in (d for d in case.dtypes if d.is_floating_point):
            for bad in (float("nan"), float("inf"), -float("inf")):
                image = case.image(dims, dtype)
                image.flatten()[image.numel() // 3] = bad
                for kind in ("tensor", "meta") if dtype == torch.bfloat16 else ("numpy", "tensor", "meta"):
                    refused(case, as_kind(image, kind), ValueError, "(NaN|Inf|finite)")


def check_wrong_rank_and_empty(case: Case) -> None:
    """Anything but channel-first with two or three spatial axes, and images of no voxels."""
    volume = case.image()
    for shape in ((7,), (7, 8), (1, 1, 2, 3, 4)):
        refused(case, torch.zeros(shape), ValueError, "channel-first.*shape")
        refused(case, np.zeros(shape), ValueError, "channel-first.*shape")
    refused(case, volume[:0], ValueError, "empty")
    refused(case, volume[..., :0].numpy(), ValueError, "empty")


def check_what_is_no_image(case: Case) -> None:
    """Complex numbers, objects, text, lists and None."""
    for data in (
        torch.zeros(1, 4, 5, dtype=torch.complex64),
        np.zeros((1, 4, 5), dtype=np.complex128),
        np.full((1, 4, 5), "text"),
        np.full((1, 4, 5), None),
        [[[1.0, 2.0]]],
        "image.nii",
        None,
    ):
        if not any(d.is_complex for d in case.dtypes) or not np.iscomplexobj(data):
            refused(case, data, TypeError)


def check_missing_key(case: Case) -> None:
    """A KeyError names a missing key; with ``allow_missing_keys`` it is passed over."""
    image = meta_tensor(case.image())
    with pytest.raises(KeyError, match="mask"):
        case.twin(("image", "mask"))({"image": image})
    lenient = case.twin(("mask", "image"), allow_missing_keys=True)
    out = lenient({"image": image, "other": 3})
    assert set(out) == {"image", "other"}
    assert len(records(out["image"])) == 1
    assert lenient({"other": 3}) == {"other": 3}


def check_data_that_is_no_dictionary(case: Case) -> None:
    """A dictionary twin says what it got."""
    for data in (case.image(), [1, 2], None, "text"):
        with pytest.raises(TypeError, match=f"dictionary.*{type(data).__name__}"):
            case.twin()(data)


def check_arguments(case: Case) -> None:
    """Unknown and missing arguments are refused, as Python does; so are keys that are none."""
    for make in (case.cls, lambda **kw: case.twin_class("image", **kw)):
        with pytest.raises(TypeError, match="no_such_argument"):
            make(**case.arguments, no_such_argument=1)
    with pytest.raises(TypeError, match="keys"):
        case.twin_class(**case.arguments)
    with pytest.raises(ValueError, match="keys"):
        case.twin_class((), **case.arguments)


def check_failed_call_changes_nothing(case: Case) -> None:
    """When the second key is refused, the caller's first is as it was."""
    good, bad = meta_tensor(case.image()), meta_tensor(case.image() * float("nan"))
    before = snapshot(good)
    data = {"good": good, "bad": bad}
    with pytest.raises(ValueError, match="'bad'"):
        case.twin(("good", "bad"))(data)
    assert_untouched(good, before, "after an error")
    assert data["good"] is good


@contract(
    [
        check_nan_and_inf,
        check_wrong_rank_and_empty,
        check_what_is_no_image,
        check_missing_key,
        check_data_that_is_no_dictionary,
        check_arguments,
        check_failed_call_changes_nothing,
    ]
)
def test_errors(check, case):
    check(case)


def check_prob(case: Case) -> None:
    """Every random transform has a prob with a default, within [0, 1]."""
    default = inspect.signature(case.cls).parameters["prob"].default
    assert 0 < default <= 1
    for prob in (-0.1, 1.5, float("nan")):
        for make in (case.array, case.twin):
            with pytest.raises(ValueError, match="prob"):
                make(prob=prob)
    assert case.twin(prob=0.25).prob == 0.25


@contract([check_prob], RANDOM_CASES)
def test_probability(check, case):
    check(case)


def check_mode_and_padding(case: Case) -> None:
    """A wrong mode or padding, and a wrong number of them, is refused at construction, for every key."""
    for changes in ({"mode": "cubist"}, {"padding_mode": "wallpaper"})[: 1 + case.pads]:
        name = next(iter(changes))
        with pytest.raises(ValueError, match=name):
            case.array(**changes)
        with pytest.raises(ValueError, match=name):
            case.twin(**changes)
    with pytest.raises(ValueError, match="mode"):
        case.twin(("a", "b"), mode=("bilinear", "cubist"))
    if case.pads:
        with pytest.raises(ValueError, match="padding_mode"):
            case.twin(("a", "b"), padding_mode=("border", "wallpaper"))
    with pytest.raises(ValueError, match=r"mode|length|3"):
        case.twin(("a", "b"), mode=("bilinear",) * 3)


def check_affine(case: Case) -> None:
    """An affine that is not finite, or flattens an axis, is refused by its name."""
    for dims in case.dims:
        for bad in (AFFINE * float("nan"), AFFINE @ torch.diag(torch.tensor([1, 0, 1, 1], dtype=torch.float64))):
            data = meta_tensor(case.image(dims), bad)
            with pytest.raises(ValueError, match="affine"):
                case.array()(data)
            with pytest.raises(ValueError, match="affine"):
                case.twin()({"image": data})


def check_missing_spacing(case: Case) -> None:
    """An image without spacing counts as one of 1 mm, which is said, and only once."""
    for dims in case.dims:
        image = case.image(dims)
        wanted = case.array()(as_kind(image, "meta"))
        bare = meta_tensor(image)
        del bare.meta["affine"]
        unsaid()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outs = [case.array()(image.numpy()), case.twin()({"image": image})["image"], case.array()(bare)]
        assert all(same(out, wanted) for out in outs), f"a missing spacing is not 1 mm {dims}D"
        said = [str(w.message) for w in caught if "1 mm" in str(w.message)]
        assert len(said) == 1, f"that a missing spacing counts as 1 mm was said {len(said)} times"


@contract([check_mode_and_padding, check_affine, check_missing_spacing], GEOMETRIC_CASES)
def test_geometric_arguments(check, case):
    check(case)


def check_missing_spacing_elsewhere(case: Case) -> None:
    """Intensity steps take an image without spacing as one of 1 mm too."""
    for dims in case.dims:
        image = case.image(dims)
        wanted = case.array()(as_kind(image, "meta"))
        bare = meta_tensor(image)
        del bare.meta["affine"]
        assert same(case.array()(bare), wanted)
        assert same(case.array()(image), wanted)


@contract([check_missing_spacing_elsewhere], [c for c in CASES if not c.geometric])
def test_intensity_without_spacing(check, case):
    check(case)

"""What goes in comes out: kinds, types, axes, meta data, masks; and the caller's data stays as it was."""

import numpy as np
import pytest
import torch
from monai.data import set_track_meta
from monai.data.meta_tensor import MetaTensor

from .cases import (
    AFFINE,
    CASES,
    EARLIER,
    GEOMETRIC_CASES,
    KINDS,
    RANDOM_CASES,
    Case,
    as_kind,
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


def expected_dtype(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype.is_floating_point or dtype.is_complex else torch.float32


def data_type(case: Case) -> torch.dtype:
    """Of the class's plain example."""
    return case.image(case.dims[0]).dtype


def inputs(case: Case, dims: int):
    """Every type, and every kind with the first of them: (kind, type, data). The mechanism converts each by itself."""
    first = case.dtypes[0] if torch.float32 not in case.dtypes else torch.float32
    for n, dtype in enumerate(case.dtypes):
        for kind in KINDS if dtype == first else (KINDS[n % len(KINDS)],):
            kind = "tensor" if kind == "numpy" and dtype == torch.bfloat16 else kind
            yield kind, dtype, as_kind(case.image(dims, dtype), kind)


def assert_kind(case: Case, out, data, dtype: torch.dtype, what: str) -> None:
    assert type(out) is type(data), f"{what}: {type(data).__name__} came back as {type(out).__name__}"
    assert voxels(out).dtype == dtype, f"{what}: came back as {voxels(out).dtype}, not {dtype}"
    assert tuple(out.shape) == case.out_shape(data), f"{what}: came back with shape {tuple(out.shape)}"
    assert torch.isfinite(voxels(out)).all(), f"{what}: came back with NaN or Inf"


def check_kind_and_dtype(case: Case) -> None:
    """numpy, Tensor and MetaTensor come back as such; floats keep their type, integers become float32.

    Neither face, nor a skip, writes to the caller's voxels, meta data or trace.
    """
    for dims in case.dims:
        for kind, dtype, data in inputs(case, dims):
            what = f"{kind} {dtype} {dims}D"
            before = snapshot(data)
            assert_kind(case, case.array()(data), data, expected_dtype(dtype), what)
            assert_untouched(data, before, what)
            if case.random:
                case.array(prob=0.0)(data)
                assert_untouched(data, before, f"{what}, skipped")
            sample = {"image": data, "other": "kept"}
            out = case.twin()(sample)
            assert_kind(case, out["image"], data, expected_dtype(dtype), f"{what} in a dictionary")
            assert out["other"] == "kept"
            assert list(sample) == ["image", "other"]
            assert sample["image"] is data
            assert_untouched(data, before, f"{what} in a dictionary")


def check_dtype_changes_no_value(case: Case) -> None:
    """Integers keep their values (no scaling); float16 and bfloat16 are computed in float32 and rounded once."""
    for dims in case.dims:
        for dtype in case.dtypes:
            image = case.image(dims, dtype)
            out = case.array(seed=3)(image)
            if dtype in (torch.float64, torch.complex128):
                single = torch.complex64 if dtype.is_complex else torch.float32
                assert distance(out, case.array(seed=3)(image.to(single))) < 1e-4, (
                    f"{dtype} {dims}D differs from float32"
                )
                continue
            wide = case.array(seed=3)(image if dtype.is_complex else image.to(torch.float32))
            assert same(out, wide.to(expected_dtype(dtype))), f"{dtype} {dims}D differs from the same values in float32"


def check_memory_layout(case: Case) -> None:
    """Big-endian, read-only, Fortran-ordered, strided and reversed arrays hold the same image and give the same."""
    for dims in case.dims:
        plain = case.image(dims).numpy()
        wanted = case.array()(plain)
        read_only = plain.copy()
        read_only.flags.writeable = False
        variants = {
            "big-endian": plain.astype(plain.dtype.newbyteorder(">")),
            "read-only": read_only,
            "Fortran-ordered": np.asfortranarray(plain),
            "strided": np.repeat(plain, 2, axis=-1)[..., ::2],
            "reversed": plain[..., ::-1].copy()[..., ::-1],
        }
        for what, array in variants.items():
            out = case.array()(array)
            assert out.dtype.isnative, f"{what} came back as {out.dtype}"
            assert same(out, wanted), f"{what} {dims}D differs from the plain array"
        strided = torch.from_numpy(variants["strided"])
        assert same(case.array()(strided), wanted), f"a strided tensor {dims}D differs from the plain array"
        if torch.int16 not in case.dtypes:
            continue
        integers = cast(case.image(dims), torch.int16).numpy()
        out = case.array()(integers.astype(">i2"))
        assert out.dtype == np.float32, f"big-endian int16 came back as {out.dtype}"
        assert same(out, case.array()(integers)), "big-endian int16 differs from native"


def check_axes_of_any_length(case: Case) -> None:
    """Odd axes, axes of one voxel, and a single voxel; those shorter than the class declares are refused."""
    for dims in case.dims:
        full = case.image(dims)
        crops = [full[..., 1:-2, :-1]] + [full.narrow(axis, 5, 1) for axis in range(1, dims + 1)]
        crops += [full.narrow(1, 5, 1).narrow(dims, 3, 1), full[(slice(None), *[slice(3, 4)] * dims)]]
        for crop in crops:
            data = meta_tensor(crop)
            if any(n < least for n, least in zip(crop.shape[1:], case.cls.least_shape, strict=False)):
                with pytest.raises(ValueError, match=r"\bimg\b"):
                    case.array()(data)
                continue
            assert_kind(case, case.array()(data), data, data_type(case), f"shape {tuple(crop.shape)}")


def check_channels(case: Case) -> None:
    """Several channels; geometry moves them all alike."""
    for dims in case.dims:
        one = case.image(dims)
        stack = torch.cat([one, one.flip(1), one.flip(-1)])
        out = case.array()(stack)
        assert_kind(case, out, stack, data_type(case), f"three channels {dims}D")
        if case.geometric:
            for c in range(3):
                assert distance(out[c], case.array()(stack[c : c + 1])[0]) < 1e-6, f"channel {c} moved on its own"


def check_inverse_leaves_its_input(case: Case) -> None:
    """Nor does the inverse write to what it is given."""
    for dims in case.dims:
        twin, array = case.twin(), case.array()
        out = twin({"image": meta_tensor(case.image(dims))})
        before = snapshot(out["image"])
        twin.inverse(out)
        assert_untouched(out["image"], before, f"inverse {dims}D in a dictionary")
        out = array(meta_tensor(case.image(dims)))
        before = snapshot(out)
        array.inverse(out)
        assert_untouched(out, before, f"inverse {dims}D")


def check_meta_survives(case: Case) -> None:
    """Meta data, the affine and earlier steps are there afterwards, and ours is the last step."""
    for dims in case.dims:
        data = meta_tensor(case.image(dims))
        for out in (case.array()(data), case.twin()({"image": data})["image"]):
            assert out.affine.tolist() == [list(row) for row in case.out_grid(data).affine]
            assert out.meta["filename_or_obj"] == "case.nii"
            assert out.meta["nested"] == {"values": [1, 2]}
            assert out.applied_operations[0] == EARLIER
            assert len(out.applied_operations) == 2
            assert not out.is_batch
            assert out.meta is not data.meta


def check_faces_agree(case: Case) -> None:
    """The dictionary twin does to its first key what the array class does, for the same seed."""
    for dims in case.dims:
        for affine in (torch.eye(4, dtype=torch.float64), AFFINE):
            data = meta_tensor(case.image(dims), affine)
            wanted = case.array(seed=5)(data)
            assert same(case.twin(seed=5)({"image": data})["image"], wanted), f"the twin differs from the array {dims}D"
        kinds = [case.array(seed=5)(as_kind(case.image(dims), kind)) for kind in KINDS]
        assert same(kinds[0], kinds[1]), "numpy and Tensor give different voxels"
        assert same(kinds[0], kinds[2]), "a MetaTensor of 1 mm gives other voxels than a bare array"


def check_gradients_do_not_crash(case: Case) -> None:
    """An image that requires a gradient is one like another."""
    for dims in case.dims:
        image = case.image(dims)
        wanted = case.array()(image)
        for data in (image.clone().requires_grad_(), as_kind(image, "meta").requires_grad_()):
            for out in (case.array()(data), case.twin()({"image": data})["image"]):
                assert distance(out, wanted) < 1e-4, f"requires_grad changes the result {dims}D"


def check_tracking_off(case: Case) -> None:
    """With `set_track_meta(False)` a MetaTensor comes back as Tensor, as in MONAI."""
    data = meta_tensor(case.image())
    wanted = voxels(case.array()(data))
    before = snapshot(data)
    set_track_meta(False)
    try:
        outs = [case.array()(data), case.twin()({"image": data})["image"]]
    finally:
        set_track_meta(True)
    for out in outs:
        assert type(out) is torch.Tensor, f"a MetaTensor came back as {type(out).__name__}"
        assert same(out, wanted)
    assert_untouched(data, before, "tracking off")


@contract(
    [
        check_kind_and_dtype,
        check_dtype_changes_no_value,
        check_memory_layout,
        check_axes_of_any_length,
        check_channels,
        check_inverse_leaves_its_input,
        check_meta_survives,
        check_faces_agree,
        check_gradients_do_not_crash,
        check_tracking_off,
    ]
)
def test_data(check, case):
    check(case)


def check_skip(case: Case) -> None:
    """With prob 0 no value changes, the rule for types still holds, and the record says that it was skipped."""
    for dims in case.dims:
        for kind, dtype, data in inputs(case, dims):
            what = f"skipped {kind} {dtype} {dims}D"
            for out in (case.array(prob=0.0)(data), case.twin(prob=0.0)({"image": data})["image"]):
                assert_kind(case, out, data, expected_dtype(dtype), what)
                assert torch.equal(exact(out).double(), exact(data).double()), f"{what}: a value changed"
                if isinstance(out, MetaTensor):
                    assert [r["do_transforms"] for r in records(out)] == [False], f"{what}: wrong record"


@contract([check_skip], RANDOM_CASES)
def test_skipping(check, case):
    check(case)


def test_every_kind_of_operation_is_found():
    assert {"HUWindow", "RandCTDose", "RandAffineElastic"} <= {str(case) for case in CASES}
    assert RANDOM_CASES
    assert GEOMETRIC_CASES
    with pytest.raises(AssertionError):
        assert_untouched(torch.zeros(2), snapshot(torch.ones(2)), "the check itself")

"""Several keys: they share geometry and never noise, and masks keep their type and their labels."""

import torch

from .cases import (
    CASES,
    GEOMETRIC_CASES,
    KINDS,
    LABELS,
    Case,
    as_kind,
    contract,
    exact,
    labels,
    meta_tensor,
    records,
    same,
    voxels,
)


def check_masks(case: Case) -> None:
    """``mode="nearest"``: type and label values stay exactly, in every type, at every padding, also when skipped."""
    for dims in case.dims:
        image = case.image(dims)
        for dtype in LABELS:
            mask = labels(image.shape[1:], dtype)
            known = set(exact(mask).unique().tolist())
            for padding, prob, kinds in (("border", 1.0, KINDS), ("zeros", 1.0, ["meta"]), ("border", 0.0, ["numpy"])):
                for kind in kinds:
                    data = {"image": as_kind(image, kind), "mask": as_kind(mask, kind)}
                    changes = {**_prob(case, prob), **({"padding_mode": padding} if case.pads else {})}
                    twin = case.twin(("image", "mask"), mode=("bilinear", "nearest"), **changes)
                    out = twin(data)["mask"]
                    what = f"mask {kind} {dtype} {dims}D {padding}"
                    assert type(out) is type(data["mask"]), f"{what}: came back as {type(out).__name__}"
                    assert voxels(out).dtype == dtype, f"{what}: came back as {voxels(out).dtype}"
                    found = set(exact(out).unique().tolist())
                    assert found <= known, f"{what}: new labels {found - known}"
            moved = case.array(mode="nearest")(mask)
            assert voxels(moved).dtype == dtype, f"the array face turned a {dtype} mask into {voxels(moved).dtype}"
            assert not torch.equal(exact(moved), exact(mask)), "the mask did not move"


def _prob(case: Case, prob: float) -> dict:
    return {"prob": prob} if case.random else {}


def check_keys_share_geometry(case: Case) -> None:
    """Equal images under two keys move alike, and a mask as its image."""
    for dims in case.dims:
        image = case.image(dims)
        out = case.twin(("a", "b"))({"a": meta_tensor(image), "b": meta_tensor(image)})
        assert same(out["a"], out["b"]), f"two keys moved differently {dims}D"
        assert not same(out["a"], image), "the image did not move"
        whole = labels(image.shape[1:], torch.float32)
        out = case.twin(("a", "b"), mode="nearest")({"a": meta_tensor(whole), "b": as_kind(whole, "numpy")})
        assert same(out["a"], out["b"]), "a bare array did not take the affine of the key of equal shape"


@contract([check_masks, check_keys_share_geometry], GEOMETRIC_CASES)
def test_geometry(check, case):
    check(case)


def check_noise_is_each_keys_own(case: Case) -> None:
    """Where a seed is drawn, no two keys get the same field; what is drawn without one acts alike on all keys."""
    for dims in case.dims:
        image = case.image(dims)
        out = case.twin(("a", "b"))({"a": meta_tensor(image), "b": meta_tensor(image)})
        drawn = records(out["a"])[-1]["extra_info"]["params"]
        if "seed" not in drawn:
            assert same(out["a"], out["b"]), f"two keys got different parameters {dims}D"
            continue
        if case.cls.common_pattern:
            assert not same(out["a"], out["b"]), f"two keys got the same noise {dims}D"
            continue
        a, b = ((exact(out[key]) - exact(image)).flatten() for key in "ab")
        correlation = float(torch.corrcoef(torch.stack([a, b]))[0, 1])
        assert abs(correlation) < 0.5, f"the noise of two keys correlates by {correlation:.2f} {dims}D"


@contract([check_noise_is_each_keys_own], [c for c in CASES if not c.geometric])
def test_noise(check, case):
    check(case)

"""Invariants over any seed and value, by hypothesis."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .cases import CASES, EVERY_CASE, GEOMETRIC_CASES, LABELS, RANDOM_CASES, exact, labels, meta_tensor, records

seeds = st.integers(0, 2**32 - 1)
quick = settings(
    max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
SCALED = [case for case in RANDOM_CASES if case.cls.identity]


@pytest.mark.parametrize("case", GEOMETRIC_CASES, ids=str)
@quick
@given(seed=seeds, value=st.floats(-1e4, 1e4, width=32), dims=st.sampled_from((2, 3)))
def test_a_constant_image_stays_constant(case, seed, value, dims):
    """Interpolation weights sum to one, and nothing from outside comes in at padding "border"."""
    if dims not in case.dims:
        return
    image = torch.full_like(case.image(dims), value)
    out = case.array(seed)(meta_tensor(image))
    assert float((exact(out) - value).abs().max()) <= 1e-5 * max(1.0, abs(value))
    wanted = torch.full(case.out_shape(image), value)
    assert torch.equal(case.array(seed, mode="nearest")(image), wanted)


@pytest.mark.parametrize("case", GEOMETRIC_CASES, ids=str)
@quick
@given(seed=seeds, dtype=st.sampled_from(list(LABELS)), dims=st.sampled_from((2, 3)))
def test_no_label_is_invented(case, seed, dtype, dims):
    """Whatever the seed, a mask holds labels that it held before, and zero where padding asks for it."""
    if dims not in case.dims:
        return
    mask = labels(case.image(dims).shape[1:], dtype)
    for padding in ("border", "zeros", "reflection")[: None if case.pads else 1]:
        changes = {"padding_mode": padding} if case.pads else {}
        out = case.array(seed, mode="nearest", **changes)(mask)
        assert out.dtype == mask.dtype
        assert set(exact(out).unique().tolist()) <= set(exact(mask).unique().tolist())


@pytest.mark.parametrize("case", SCALED, ids=str)
@quick
@given(seed=seeds, dims=st.sampled_from((2, 3)))
def test_strength_zero_does_nothing(case, seed, dims):
    """Scaled all the way toward its identity values, a draw leaves the image as it is."""
    if dims not in case.dims:
        return
    image = case.image(dims)
    transform = case.array(seed)
    transform.strength = 0.0
    out = transform(meta_tensor(image))
    extent = float(image.max() - image.min())
    assert float((exact(out) - exact(image)).abs().max()) <= 1e-4 * extent
    transform.strength = 0.5
    assert not torch.equal(exact(transform(meta_tensor(image))), exact(image))


def test_what_is_drawn_and_what_is_constant_have_names_of_their_own():
    """Records hold both in one dictionary: a name that stands for both would replay wrongly."""
    for case in EVERY_CASE:
        for variant in case.cls.variants if not case.cls.takes_batches else ():
            transform = case.array(**variant)
            both = transform.draw().keys() & transform.settings().keys()
            assert not both, f"{case}: {sorted(both)} are drawn and constant"


def test_phrases_name_quantities_of_the_record():
    """Each name in ``phrases`` and ``headline`` stands in some record, so that a misspelt one is noticed."""
    for case in CASES:
        found: set[str] = set()
        for arguments in (*case.cls.variants, *case.cls.gallery.arguments):
            for dims in case.dims:
                out = case.array(**arguments)(meta_tensor(case.image(dims)))
                extra = records(out)[-1]["extra_info"]
                found |= extra["params"].keys() | extra.get("figures", {}).keys()
        said = {*case.cls.phrases, *(case.cls.headline or ())}
        assert said <= found, f"{case}: phrases for {sorted(said - found)}, which no record holds"


def test_identity_values_are_those_of_drawn_quantities():
    """Each name in ``identity`` is drawn, and its value has the same form."""
    assert SCALED
    for case in CASES:
        drawn: dict = {}
        for variant in case.cls.variants:
            drawn |= case.array(**variant).draw()
        for name, value in case.cls.identity.items():
            assert name in drawn, f"{case}: identity names {name}, which is not drawn"
            assert isinstance(drawn[name], list) == isinstance(value, list)
            assert not isinstance(value, list) or len(value) == len(drawn[name])

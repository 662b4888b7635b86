"""The checks themselves: each notices an operation that breaks what it guards, and passes the sound one."""

import pickle
import types

import pytest

from . import broken, test_batch, test_data, test_errors, test_keys, test_names, test_random, test_trace
from .cases import CASES, case_of

NOTICED = [
    (broken.WritesIntoInput, test_data.check_kind_and_dtype),
    (broken.WritesIntoTrace, test_data.check_kind_and_dtype),
    (broken.WritesIntoMeta, test_data.check_kind_and_dtype),
    (broken.ScalesIntegers, test_data.check_dtype_changes_no_value),
    (broken.ReturnsFloat32, test_data.check_kind_and_dtype),
    (broken.ChangesSkipped, test_data.check_skip),
    (broken.SameNoiseForAllKeys, test_keys.check_noise_is_each_keys_own),
    (broken.BlendsMasks, test_keys.check_masks),
    (broken.ChangesMaskDtype, test_keys.check_masks),
    (broken.MovesEachKeyAlone, test_keys.check_keys_share_geometry),
    (broken.IgnoresSeed, test_random.check_seeds),
    (broken.IgnoresSeed, test_random.check_no_other_source),
    (broken.UsesGlobalState, test_random.check_no_other_source),
    (broken.ForgetsSeed, test_random.check_seeds),
    (broken.SharesState, test_random.check_instances_are_independent),
    (broken.DrawsByDecision, test_random.check_decision_says_nothing_about_the_draw),
    (broken.HoldsLambda, test_random.check_copies_continue),
    (broken.NewUidInCopies, test_random.check_copies_continue),
    (broken.KeepsState, test_random.check_deterministic_keeps_no_state),
    (broken.ArrayInTrace, test_trace.check_records_are_plain),
    (broken.NumpyScalarInTrace, test_trace.check_records_are_plain),
    (broken.NoneInTrace, test_trace.check_records_are_plain),
    (broken.ModeInTrace, test_trace.check_mode_means_interpolation),
    (broken.InvertsNothing, test_trace.check_inverse),
    (broken.OneDrawForTheBatch, test_batch.check_array_face),
    (broken.SpreadsNaN, test_errors.check_nan_and_inf),
    (broken.Sound, test_names.check_aliases),
    (broken.Sound, test_names.check_docstrings),
]
FAILURES = (AssertionError, pytest.fail.Exception, pickle.PicklingError, AttributeError)


@pytest.mark.parametrize(("cls", "check"), NOTICED, ids=lambda x: x.__name__.removeprefix("check_"))
def test_a_broken_operation_is_noticed(cls, check):
    with pytest.raises(FAILURES):
        check(case_of(cls))


SOUND = {(cls.__mro__[1], check) for cls, check in NOTICED if cls.__mro__[1].__module__ == broken.__name__}


@pytest.mark.parametrize(("cls", "check"), sorted(SOUND, key=str), ids=lambda x: x.__name__.removeprefix("check_"))
def test_a_sound_operation_passes(cls, check):
    """The same check passes the operation from which the broken one differs by its fault alone."""
    check(case_of(cls))


def test_clashing_names_are_noticed():
    one, other = types.ModuleType("one"), types.ModuleType("other")
    for module in (one, other):
        exec("def helper():\n    pass\n\nclass Thing:\n    pass\n\nnumber = 1", vars(module))
    one.borrowed = other.Thing
    assert test_names.defined_in([one, other]) == {"helper": ["one", "other"], "Thing": ["one", "other"]}


def test_broken_operations_are_not_public():
    assert not any(case.cls.__module__ == broken.__name__ for case in CASES)

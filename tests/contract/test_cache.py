"""Deterministic transforms pickle alike if they are equal, so that MONAI's caches on disk find their results."""

import copy
import json
import os
import pickle
import subprocess
import sys
import warnings

import pytest
from monai.data import PersistentDataset
from monai.data.utils import pickle_hashing

from .cases import CASES, Case, contract, meta_tensor, records, same

# the tensors of a network do not pickle to equal bytes: a cache that hashes it computes anew
STEADY = [case for case in CASES if not (case.random or case.cls.replayable)]
PROGRAM = """
import json
from monai.data.utils import pickle_hashing
from tests.contract.test_cache import STEADY, pair
print(json.dumps([[pickle_hashing([t]).decode() for t in pair(case)] for case in STEADY]))
"""


def pair(case: Case, key: str = "image") -> list:
    """Both faces, newly built."""
    return [case.array(), case.twin(key)]


def check_pickles(case: Case) -> None:
    """Built separately, of strings from elsewhere, used, copied or unpickled: one pickle."""
    image = meta_tensor(case.image())
    for fresh, used, other in zip(pair(case), pair(case), pair(case, "".join(["im", "age"])), strict=True):
        used(image if fresh.__class__ is case.cls else {"image": image})
        wanted = pickle_hashing([fresh])
        for equal in (used, other, copy.deepcopy(used), pickle.loads(pickle.dumps(used)), fresh):
            assert pickle_hashing([equal]) == wanted
    assert pickle_hashing(case.twin("other")) != pickle_hashing(case.twin("image"))


def check_persistent_dataset(case: Case, folder, monkeypatch) -> None:
    """A second run reads from the cache what the first wrote, and its transform inverts it."""
    data = [{"image": meta_tensor(case.image(), traced=False)}]
    calls, apply = [], case.cls.apply.__func__

    def counted(cls, *rest):
        calls.append(cls)
        return apply(cls, *rest)

    monkeypatch.setattr(case.cls, "apply", classmethod(counted))
    outs, counts = [], []
    for _ in range(2):
        transform = case.twin()
        dataset = PersistentDataset(data, [transform], cache_dir=folder, hash_transform=pickle_hashing, track_meta=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Corrupt cache")
            outs.append(dataset[0])
        counts.append(len(calls))
        assert len(records(outs[-1]["image"])) == 1
        if not case.cls.changes_grid:
            assert records(transform.inverse(outs[-1])["image"]) == [], "the inverse does not know a cached record"
    assert counts[0] > 0
    assert counts[1] == counts[0], "the second run did not read from the cache"
    assert same(*(out["image"] for out in outs))


@pytest.mark.parametrize("case", STEADY, ids=str)
def test_persistent_dataset(case, tmp_path, monkeypatch):
    check_persistent_dataset(case, tmp_path, monkeypatch)


@contract([check_pickles], STEADY)
def test_pickles(check, case):
    check(case)


def test_another_process_pickles_them_alike():
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"}
    )
    own = [[pickle_hashing([t]).decode() for t in pair(case)] for case in STEADY]
    assert json.loads(done.stdout.splitlines()[-1]) == own
    assert len({h for both in own for h in both}) == 2 * len(STEADY)

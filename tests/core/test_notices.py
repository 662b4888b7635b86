"""Each notice once for a process and all its workers."""

import os
import subprocess
import sys
import tempfile
import warnings

import pytest
from torch.utils.data import DataLoader, Dataset

from monai_medaug.core.notices import _directory
from monai_medaug.core.tensors import say_once

PROGRAM = """
from monai_medaug.core.tensors import say_once
from monai_medaug.core.notices import _directory
for _ in range(3):
    say_once("the same words")
assert _directory().exists()
print(_directory())
"""


def said(words: str) -> int:
    """How often two calls say it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        say_once(words)
        say_once(words)
    return len(caught)


class Speaking(Dataset):
    """Each item says the same and holds how often that was heard."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return said("from a worker")


@pytest.mark.parametrize(("method", "persistent"), [("fork", False), ("spawn", True)])
def test_once_for_all_workers_and_epochs(method, persistent):
    loader = DataLoader(
        Speaking(),
        num_workers=2,
        multiprocessing_context=method,
        persistent_workers=persistent,
        collate_fn=sum,
    )
    assert sum(heard for _ in range(2) for heard in loader) == 1
    assert said("from a worker") == 0
    assert said("other words") == 1


def test_a_program_of_its_own_speaks_for_itself_and_leaves_nothing():
    assert said("the same words") == 1
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stderr.count("the same words") == 1
    path = done.stdout.strip()
    assert os.path.dirname(path) == tempfile.gettempdir()
    assert path != str(_directory())
    assert not os.path.exists(path)


def test_without_a_place_for_files_each_process_speaks(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert said("no place") == 1
    assert said("no place") == 0

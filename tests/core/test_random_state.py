"""Workers of a loader that draw from copies of one random state."""

import pickle
import warnings

import monai.data
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, ThreadDataLoader
from monai.data.utils import worker_init_fn
from monai.transforms import Compose, OneOf
from torch.utils.data import DataLoader, Dataset

from monai_medaug.transforms import (
    PreservingCompose,
    RandHUContrast,
    RandHUContrastd,
    SampleSeeded,
    augmentation_report,
    ct_augmentation,
)
from tests.workers import fresh_processes


class Noted(Dataset):
    """Items that hold the draw, and how often it was said that workers repeat theirs."""

    def __init__(self, transform, size=8):
        self.transform, self.size = transform, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        image = MetaTensor(torch.full((1, 16, 16), 100.0))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            array = isinstance(self.transform, RandHUContrast)
            out = self.transform(image if array else {"image": image, "id": index})
        steps = augmentation_report(out)["steps"]
        factor = next(s["params"]["factor"] for s in steps if s["name"].startswith("RandHUContrast") and s["applied"])
        notices = sum("each worker of a loader repeats" in str(w.message) for w in said)
        return factor, notices


def contrast():
    return RandHUContrastd("image", prob=1.0)


REPEATING = {
    "array": lambda: RandHUContrast(prob=1.0),
    "twin": contrast,
    "Compose": lambda: Compose([contrast()]),
    "OneOf": lambda: OneOf([contrast()]),
    "preset": lambda: ct_augmentation("image", strength="light", prob=1.0),
    "PreservingCompose": lambda: PreservingCompose([contrast()], None),
}


def run(transform, kind=DataLoader, epochs=1, **options):
    """The draws, and how often it was said."""
    options = {"num_workers": 2, "batch_size": 4, "collate_fn": list, **options}
    loader = kind(Noted(transform), **options)
    found = [item for _ in range(epochs) for batch in loader for item in batch]
    return [factor for factor, _ in found], sum(count for _, count in found)


@pytest.mark.parametrize("name", REPEATING)
def test_workers_that_repeat_their_draws_are_said_once(name):
    factors, said = run(REPEATING[name](), epochs=2)
    assert said == 1
    assert factors[:4] == factors[4:8] == factors[8:12]


def test_fresh_workers_too():
    assert run(contrast(), multiprocessing_context=fresh_processes("forkserver"))[1] == 1


@pytest.mark.parametrize("name", REPEATING)
def test_no_notice_where_draws_do_not_repeat(name):
    make = REPEATING[name]
    assert run(make(), monai.data.DataLoader)[1] == 0
    assert run(make(), monai.data.DataLoader, epochs=2, persistent_workers=True)[1] == 0
    assert run(make(), worker_init_fn=worker_init_fn)[1] == 0
    assert run(make(), num_workers=0)[1] == 0
    assert run(make(), ThreadDataLoader, use_thread_workers=True)[1] == 0
    assert run(pickle.loads(pickle.dumps(make())), num_workers=0)[1] == 0


def test_no_notice_where_the_sample_gives_the_seed():
    for transform in (SampleSeeded(contrast(), "id"), ct_augmentation("image", sample_key="id", prob=1.0)):
        factors, said = run(transform)
        assert said == 0
        assert len(set(factors)) == 8


def test_seeding_a_preset_leaves_its_stream():
    """Not the seeding of a Compose, whose children would take numbers from it."""
    preset = ct_augmentation("image").set_random_state(0)
    assert preset.call_seed({}) == 209652396


def test_a_state_that_another_transform_shares_is_not_seeded_with_it():
    one, other = RandHUContrast(prob=1.0).set_random_state(1), RandHUContrast(prob=1.0)
    other.set_random_state(state=one.R)
    one.set_random_state(2)
    for transform, seed in ((one, 2), (other, 1)):
        expected = RandHUContrast(prob=1.0)
        expected.R = np.random.RandomState(seed)
        transform.randomize()
        expected.randomize()
        assert transform.drawn == expected.drawn

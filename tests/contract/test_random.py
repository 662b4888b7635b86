"""Randomness: all of it from `set_random_state`; workers, threads, copies and pickles each as they should."""

import copy
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose
from scipy.stats import ks_2samp

from monai_medaug.core.contract import REGISTRY

from .cases import CASES, RANDOM_CASES, Case, contract, meta_tensor, records, same

SEEDS = range(4)


def uid(transform) -> str:
    return getattr(transform, "operation", transform).uid


def faces(case: Case, seed: int = 0, **changes):
    """Both faces with data for each: (transform, data, function that gets the image out)."""
    image = meta_tensor(case.image())
    return [
        (case.array(seed, **changes), image, lambda out: out),
        (case.twin("image", seed, **changes), {"image": image}, lambda out: out["image"]),
    ]


def check_seeds(case: Case) -> None:
    """Same seed same results, call after call; other seed, and next call, other results."""
    for face in range(2):
        runs = []
        for seed in (*SEEDS, *SEEDS):
            transform, data, image = faces(case, seed)[face]
            runs.append([image(transform(data)) for _ in range(2)])
        first, second = runs[: len(SEEDS)], runs[len(SEEDS) :]
        for a, b in zip(first, second, strict=True):
            assert same(a[0], b[0]), "the same seed gave another result"
            assert same(a[1], b[1]), "the same seed gave another second result"
        flat = [out for run in first for out in run]
        equal = [(i, j) for i in range(len(flat)) for j in range(i) if same(flat[i], flat[j])]
        if case.cls.permutes:  # few results are possible
            equal = [] if len(equal) < len(flat) * (len(flat) - 1) / 2 else equal
        assert not equal, f"other seeds or calls gave the same result: {equal}"


def global_states() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().numpy()))


def check_no_other_source(case: Case) -> None:
    """The global random states have no influence, and are left as they are."""
    wanted = [image(transform(data)) for transform, data, image in faces(case)]
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        states = global_states()
        for (transform, data, image), before in zip(faces(case), wanted, strict=True):
            assert same(image(transform(data)), before), "a global random state has an influence"
        assert global_states() == states, "a global random state was used"


def check_instances_are_independent(case: Case) -> None:
    """Unseeded instances share no state (MONAI's class-level R would be shared)."""
    arguments = case._always({})
    for make in (lambda: case.cls(**arguments), lambda: case.twin_class("image", **arguments)):
        one, other = make(), make()
        assert one.R is not other.R, "two instances share their random state"
        before = pickle.dumps(other.R)
        for transform, data, _ in faces(case)[:1]:
            one(data if type(one) is type(transform) else {"image": data})
        assert pickle.dumps(other.R) == before, "one instance's call advanced another's random state"
        assert pickle.dumps(one.R) != before, "two unseeded instances start alike"


def check_decision_says_nothing_about_the_draw(case: Case) -> None:
    """What is drawn when prob is 0.5 is distributed as when it is 1: decision and draw are independent."""

    def drawn(prob: float) -> dict[str, list[float]]:
        values: dict[str, list[float]] = {}
        transform = case.twin("image", prob=prob)
        for seed in range(400):
            transform.set_random_state(seed)
            transform.randomize()
            for name, value in (transform.operation.drawn or {}).items():
                if isinstance(value, float):
                    values.setdefault(name, []).append(value)
        return values

    always, sometimes = drawn(1.0), drawn(0.5)
    for name, values in sometimes.items():
        assert 150 < len(values) < 250, f"prob 0.5 applied {len(values)} times in 400"
        if len(set(values)) > 1:
            p = ks_2samp(values, always[name]).pvalue
            assert p > 1e-4, f"{name} depends on whether it is applied (p = {p:.1g})"


def check_draw_ignores_the_data(case: Case) -> None:
    """The draw depends on the seed alone: not on shape, dimensions, values or the number of keys."""
    draws = []
    for dims in case.dims:
        image = meta_tensor(case.image(dims))
        for data in ({"a": image}, {"a": image[..., 2:]}, {"a": image, "b": image}):
            twin = case.twin(tuple(data), seed=7)
            twin(data)
            draws.append(records(twin(data)["a"])[-1]["extra_info"]["params"])
    assert all(d == draws[0] for d in draws), f"the draw depends on the data: {draws}"


@contract(
    [
        check_seeds,
        check_no_other_source,
        check_instances_are_independent,
        check_decision_says_nothing_about_the_draw,
        check_draw_ignores_the_data,
    ],
    RANDOM_CASES,
)
def test_random(check, case):
    check(case)


def check_copies_continue(case: Case) -> None:
    """Deepcopy and pickle keep the uid and continue the same stream, each on its own."""
    for transform, data, image in faces(case):
        transform(data)
        copies = [copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))]
        wanted = [image(transform(data)) for _ in range(2)]
        for one in copies:
            assert uid(one) == uid(transform), "a copy has another uid"
            for out in wanted:
                assert same(image(one(data)), out), "a copy does not continue the stream"
    assert (uid(case.array()) != uid(case.array())) == case.random, "only equal deterministic instances share a uid"


def check_threads(case: Case) -> None:
    """One copy a thread, each seeded by its owner, gives what they give one after another."""
    for transform, data, image in faces(case):

        def run(seed: int, transform=transform, data=data, image=image):
            mine = copy.deepcopy(transform)
            if case.random:
                mine.set_random_state(seed)
            return [image(mine(data)) for _ in range(3)]

        wanted = [run(seed) for seed in range(4)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(run, range(4)))
        for a, b in zip(wanted, found, strict=True):
            assert all(same(x, y) for x, y in zip(a, b, strict=True)), "threads change the result"


def check_deterministic_keeps_no_state(case: Case) -> None:
    """A deterministic transform is no Randomizable (MONAI would not cache it), and a call changes nothing in it."""
    if case.random:
        return
    for transform, data, image in faces(case):
        assert not hasattr(transform, "set_random_state"), "a deterministic transform must not be Randomizable"
        before = pickle.dumps(transform)
        first = image(transform(data))
        assert pickle.dumps(transform) == before, "a call changed the transform"
        assert same(first, image(transform(data)))


@contract([check_copies_continue, check_threads, check_deterministic_keeps_no_state])
def test_copies(check, case):
    check(case)


def epoch(start_method: str, seed: int = 1) -> dict[str, list[torch.Tensor]]:
    """Six samples of every transform, each under a key of its own, from two workers of MONAI's DataLoader."""
    images = {str(case): meta_tensor(case.image(), traced=False) for case in RANDOM_CASES}
    loader = DataLoader(
        Dataset([images] * 6, Compose([case.twin(str(case)) for case in RANDOM_CASES])),
        batch_size=1,
        num_workers=2,
        multiprocessing_context=start_method,
        generator=torch.Generator().manual_seed(seed),
    )
    batches = list(loader)
    assert len(batches) == 6
    return {name: [batch[name][0].as_tensor() for batch in batches] for name in images}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_workers_give_distinct_and_reproducible_samples():
    """Fork and spawn: no sample twice within an epoch, the same epoch again for the same seed."""
    forked, again, other, spawned = epoch("fork"), epoch("fork"), epoch("fork", seed=2), epoch("spawn")
    for name, samples in forked.items():
        few = REGISTRY[name].permutes  # so few results are possible that some agree
        for i, a in enumerate(samples):
            assert few or not any(same(a, b) for b in samples[:i]), f"{name}: workers repeat a sample"
            assert same(a, again[name][i]), f"{name}: a forked epoch is not reproducible"
            assert same(a, spawned[name][i]), f"{name}: spawned workers give other samples than forked ones"
            assert few or not same(a, other[name][i]), f"{name}: the loader's seed has no influence"


def test_there_are_deterministic_and_random_ones():
    assert RANDOM_CASES
    assert len(RANDOM_CASES) < len(CASES)

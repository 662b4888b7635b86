"""The same network trained under each augmentation strategy, judged in domain and under a shift, with intervals."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms.compose import Compose
from torch import nn
from tqdm import tqdm

from monai_medaug.core.arguments import choice, flag, number, whole_number
from monai_medaug.experiments.outcomes import MEASURES_OF, TaskLoss
from monai_medaug.experiments.samples import (
    DrawnSamples,
    cached_items,
    data_digest,
    seeded_everywhere,
    training_chain,
    trial_of,
)
from monai_medaug.experiments.strategy import AugmentationStrategy, resolved_strategies
from monai_medaug.experiments.strategy_report import StrategyComparison, compared_outcomes
from monai_medaug.experiments.training import TrainingPlan, initial_network, trained_outcomes


def compare_strategies(
    strategies: Mapping[str, Any] | Sequence[str],
    network: Callable[[], nn.Module],
    training: Sequence[Mapping] | Callable[[int], Sequence[Mapping]],
    tests: Mapping[str, Sequence[Mapping]],
    out_dir: str | Path,
    task: str = "segmentation",
    seeds: int | Sequence[int] = 3,
    epochs: int = 10,
    batch_size: int = 8,
    learning_rate: float = 1e-3,
    epoch_length: int | None = None,
    load: Callable[[Any], Any] | None = None,
    normalize: Callable[[Any], Any] | None = None,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    image_key: str = "image",
    label_key: str = "label",
    group_key: str | None = None,
    baseline: str | None = None,
    inferer: Any = None,
    test_batch_size: int = 16,
    num_workers: int = 0,
    device: str | torch.device | None = None,
    level: float = 0.95,
    draws: int = 2000,
    progress: bool = True,
) -> StrategyComparison:
    """Train the same network under each strategy, several times, and compare what it then does on several test sets.

    Every run has the same number of steps; runs of one seed start from the same weights and see the same samples in the
    same order under every strategy. Nothing is chosen on a test set: the network after the last epoch is judged. The
    figures: Dice (mean over classes) for masks, area under the ROC curve and accuracy for classes. The gain over the
    baseline is paired by case and by seed; its interval draws seeds and cases again (`crossed_draws`), so it holds for
    other seeds and other patients; for other training sets only where each seed has its own.

    After each epoch the state is on disk: the same call goes on where a killed one was, and more seeds or strategies
    may be added. Another loss is not noticed: give it another folder. Calls in several processes may share the folder
    if each has its own seeds; a last call with all of them sums up. The folder gets ``comparison.json`` and
    ``comparison.md``.

    Args:
        strategies: names of `named_strategy`, or by name: such a name, a dictionary transform of raw samples (a preset,
            any Compose), an `AugmentationStrategy`, a policy, or None.
        network: makes the network, such as ``lambda: UNet(2, 1, 2, (8, 16, 32), (2, 2))``; logits out, one channel a
            class or a single one.
        training: samples, dictionaries with an image (C, *spatial), and a mask of class numbers (1, *spatial) or the
            number of the class; or a function that gives those of a seed.
        tests: by name, such as ``"in domain"`` and ``"shifted"``, samples like these.
        out_dir: folder for results and checkpoints.
        task: ``"segmentation"`` or ``"classification"``.
        seeds: how many, counted from 0, or which.
        epochs: of every run; after each all tests are judged, for the history.
        batch_size: of training.
        learning_rate: of Adam, constant.
        epoch_length: batches of an epoch; None goes through the samples once. Give the same for training sets of
            different size to compare them at equal budgets.
        load: deterministic dictionary transform, carried out once: reading, spacing, cropping.
        normalize: dictionary transform of intensities, after a strategy's physics, before the network; None for none.
        loss: of (logits, label); None for Dice and cross-entropy, or cross-entropy.
        image_key: of the images.
        label_key: of masks or classes.
        group_key: of what tells the patient: cases of one are drawn together. None: each case is a patient.
        baseline: name of the strategy to compare with; None for the first.
        inferer: MONAI's, for test images larger than what the network takes; None calls it on whole images.
        test_batch_size: of test images; 1 if their sizes differ.
        num_workers: processes that augment; the results don't depend on it.
        device: None for a GPU if there is one.
        level: of the intervals.
        draws: of the bootstrap.
        progress: show a progress bar.

    Raises:
        ImportError: pytorch-ignite is missing: ``pip install monai-medaug[train]``.
        TypeError: a strategy is none, or ``network`` makes none.
        ValueError: an argument is out of its range, a set is empty, a key is missing, or the folder holds another
            comparison.

    Source: X. Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys 2021 (why weights,
    order and training set are drawn anew together).

    Example:
        >>> import tempfile
        >>> from monai.networks.nets.unet import UNet
        >>> rng = np.random.default_rng(0)
        >>> masks = [np.pad(np.ones((1, n, 8), np.uint8), ((0, 0), (2, 14 - n), (4, 4))) for n in (5, 6, 7, 8)]
        >>> items = [{"image": m + rng.normal(0, 0.1, m.shape).astype("f"), "label": m} for m in masks]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = compare_strategies(
        ...         ["none", "monai_brats"], lambda: UNet(2, 1, 2, (4, 8), (2,)), items[:2],
        ...         {"in domain": items[2:]}, folder, seeds=1, epochs=1, progress=False,
        ...     )
        >>> found["tests"], list(found["strategies"])
        ({'in domain': {'cases': 2, 'groups': 2}}, ['none', 'monai_brats'])
    """
    task = choice("task", task, tuple(MEASURES_OF))
    chosen = _seeds_of(seeds)
    level, draws = number("level", level, 0.5, 0.9999), whole_number("draws", draws, 100)
    batch_size = whole_number("batch_size", batch_size, 1)
    if isinstance(network, nn.Module) or not callable(network):
        raise TypeError(
            f"network must be a function that makes one, so that each run starts anew, got {type(network).__name__}: "
            "write lambda: …"
        )
    needed = [image_key, label_key, *([] if group_key is None else [group_key])]
    if not isinstance(tests, Mapping) or not tests:
        raise ValueError(f"tests must be a dictionary of sets, at least one, got {type(tests).__name__} without one")
    for name, items in tests.items():
        _check_samples(f"tests[{name!r}]", items, needed)

    def samples_of(seed: int) -> Sequence[Mapping]:
        given = training(seed) if callable(training) else training
        _check_samples("training", given, needed[:2])
        return given

    given = samples_of(chosen[0])
    loaded = cached_items(given, load)
    size = tuple(torch.as_tensor(loaded[0][image_key]).shape[1:])
    named = resolved_strategies(strategies, image_key, label_key if task == "segmentation" else None, size)
    first = choice("baseline", next(iter(named)) if baseline is None else baseline, tuple(named))
    steps = -(-len(given) // batch_size) if epoch_length is None else whole_number("epoch_length", epoch_length, 1)
    count = len(given) if epoch_length is None else steps * batch_size
    settings: dict[str, Any] = {
        "task": task,
        "epochs": whole_number("epochs", epochs, 1),
        "steps_per_epoch": steps,
        "batch_size": batch_size,
        "learning_rate": number("learning_rate", learning_rate, 1e-12),
        "tests": {name: data_digest(items) for name, items in tests.items()},
    }
    folder = Path(out_dir)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    _same_settings(folder / "settings.json", settings)
    judge = Compose([step for step in (load, normalize) if step is not None])
    plan = TrainingPlan(
        task=task,
        make_network=network,
        loss=TaskLoss(task) if loss is None else loss,
        tests={name: cached_items(items, judge) for name, items in tests.items()},
        epochs=settings["epochs"],
        batch_size=batch_size,
        test_batch_size=whole_number("test_batch_size", test_batch_size, 1),
        learning_rate=settings["learning_rate"],
        image_key=image_key,
        label_key=label_key,
        device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        inferer=inferer,
        num_workers=whole_number("num_workers", num_workers, 0),
    )
    runs: dict[str, list[Any]] = {name: [] for name in named}
    files = _run_files(folder / "runs", named)
    with tqdm(
        total=len(named) * len(chosen) * plan.epochs, unit="epoch", disable=not flag("progress", progress)
    ) as bar:
        for seed in chosen:
            if callable(training) and seed != chosen[0]:
                given = samples_of(seed)
                loaded = cached_items(given, load)
            digest = data_digest(given)
            for name, strategy in named.items():
                samples = DrawnSamples(loaded, training_chain(strategy, normalize), seed, count)
                bar.set_description(f"{name}, seed {seed}")
                file = files[name].with_suffix(f".{seed}.json")
                runs[name].append(_one_run(plan, samples, strategy, digest, file, bar))
    groups = {
        name: np.arange(len(items)) if group_key is None else np.array([str(item[group_key]) for item in items])
        for name, items in tests.items()
    }
    figures, sizes = compared_outcomes(runs, groups, first, level, draws)
    found = StrategyComparison(
        task=task, baseline=first, seeds=chosen, level=level, settings=settings, tests=sizes, strategies=figures
    )
    _write_text(folder / "comparison.json", found.to_json())
    _write_text(folder / "comparison.md", f"{found}\n")
    return found


def _seeds_of(seeds: int | Sequence[int]) -> list[int]:
    if isinstance(seeds, Sequence) and not isinstance(seeds, str):
        each = [whole_number("seeds", seed, 0) for seed in seeds]
        if not each or len(set(each)) < len(each):
            raise ValueError(f"seeds must be different numbers, at least one, got {list(seeds)}")
        return each
    return list(range(whole_number("seeds", seeds, 1)))


def _check_samples(name: str, items: Any, keys: Sequence[str]) -> None:
    if not isinstance(items, Sequence) or isinstance(items, str) or not len(items):
        raise ValueError(f"{name} must be a list of dictionaries, at least one, got {type(items).__name__}")
    for item in items:
        if not isinstance(item, Mapping):
            raise ValueError(f"{name} must be a list of dictionaries, got a {type(item).__name__} in it")
        if missing := [key for key in keys if key not in item]:
            raise ValueError(f"{name} must be samples with {missing[0]!r}, got one without")


def _same_settings(file: Path, settings: dict[str, Any]) -> None:
    """Write what makes runs comparable, or refuse a folder of other runs."""
    if not file.is_file():
        _write_text(file, json.dumps(settings, indent=1))
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    if changed := [key for key in settings if before.get(key) != settings[key]]:
        key = changed[0]
        raise ValueError(
            f"out_dir must be empty or hold the same comparison, got one with another {key} ({before.get(key)!r}, now "
            f"{settings[key]!r})"
        )


def _run_files(folder: Path, named: Mapping[str, AugmentationStrategy]) -> dict[str, Path]:
    files = {name: folder / f"{re.sub(r'[^A-Za-z0-9-]+', '_', name)}.run" for name in named}
    if len({str(file).lower() for file in files.values()}) < len(files):
        raise ValueError(f"strategies must have names that differ in letters and digits, got {list(named)}")
    return files


def _one_run(
    plan: TrainingPlan, samples: DrawnSamples, strategy: AugmentationStrategy, digest: str, file: Path, bar: Any
) -> dict[str, Any]:
    """One run, read if it is finished and of the same samples, strategy and network."""
    fresh = initial_network(plan.make_network, samples.seed).state_dict()
    told = [{"image": value.float().reshape(1, -1)} for value in fresh.values() if value.numel()]
    identity = {
        "training": digest,
        "network": data_digest(told),
        "trial": trial_of(samples.chain, samples.items, plan.image_key),
        "batch_step": type(strategy.batch).__name__,
    }
    known = file.with_suffix(".identity")
    if known.is_file() and not _alike(json.loads(known.read_text(encoding="utf-8")), identity):
        raise ValueError(
            "out_dir must hold runs of the same training set, strategies and network, got another under "
            f"{file.name.split('.')[0]!r}: give what changed another name or another folder"
        )
    _write_text(known, json.dumps(identity))
    if file.is_file():
        bar.update(plan.epochs)
        return json.loads(file.read_text(encoding="utf-8"))

    def tell(epoch: int, history: Mapping[str, Any]) -> None:
        bar.update(1)
        bar.set_postfix_str(f"loss {history['loss'][-1]:.3f}", refresh=False)

    checkpoint = file.with_suffix(".pt")
    with seeded_everywhere(samples.seed):
        found = trained_outcomes(plan, samples, strategy.batch, checkpoint, tell)
    _write_text(file, json.dumps(found))
    checkpoint.unlink(missing_ok=True)
    return found


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    a, b = np.array(one["trial"]), np.array(other["trial"])
    same = all(one[key] == other[key] for key in ("training", "network", "batch_step"))
    return same and a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max(initial=0)))


def _write_text(file: Path, text: str) -> None:
    """Under a temporary name first, so that a reader finds all or nothing."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)

"""The three axes on which generated images are judged: fidelity, diversity and memorising, each with its floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from monai_medaug.engines.generation_monitor import image_features, require_enough, set_distances
from monai_medaug.functional.generation.copies import CHANGES, CopyTest, CopyVerdict, planted_copies, training_share
from monai_medaug.functional.generation.neighbours import NeighbourSearch
from monai_medaug.functional.generation.sets import manifold_share, mean_distance, nearest_distance, spectrum_distance

COVERED = CHANGES[:4]
"""Changes of planted copies that must be found, for a report to say that there are none."""

_DRAWS = 5  # of equally large sets
_PLANTED = 100  # copies of each kind
_LEAST = {"exact": 0.95}
_LEAST_CHANGED = 0.8
_CHANCE = 0.01


@dataclass(frozen=True)
class RealSplit:
    """Real images of a report, in parts that share no patient.

    Attributes:
        training: what the generator was trained on.
        threshold: by which the threshold of copies is set.
        test: real images that are judged as if they were generated.
        groups: of the training images, or None.
        held_out_groups: of `held_out`, or None.
    """

    training: torch.Tensor
    threshold: torch.Tensor
    test: torch.Tensor
    groups: np.ndarray | None
    held_out_groups: np.ndarray | None

    @property
    def held_out(self) -> torch.Tensor:
        """All real images of other patients."""
        return torch.cat([self.threshold, self.test])


def split_real(
    training: torch.Tensor,
    held_out: torch.Tensor,
    training_groups: Sequence[Any] | None,
    held_out_groups: Sequence[Any] | None,
    seed: int,
) -> RealSplit:
    """Split the held-out images in two halves by patient.

    Raises:
        ValueError: the groups are not as many as the images, or a group is in both sets.
    """
    own, other = (
        None if groups is None else np.asarray(groups).ravel() for groups in (training_groups, held_out_groups)
    )
    for name, groups, images in (("training_groups", own, training), ("held_out_groups", other, held_out)):
        if groups is not None and len(groups) != len(images):
            raise ValueError(f"{name} must be {len(images)}, one for each image, got {len(groups)}")
    if own is not None and other is not None and len(both := np.intersect1d(own, other)):
        raise ValueError(f"held_out_groups must hold no group of the training, got {len(both)} that are in both")
    each = np.arange(len(held_out)) if other is None else np.unique(other, return_inverse=True)[1]
    place = np.random.default_rng(seed).permutation(each.max() + 1)[each]
    first = torch.from_numpy(place < (each.max() + 1) / 2)
    ordered = None if other is None else np.concatenate([other[first.numpy()], other[~first.numpy()]])
    return RealSplit(training, held_out[first], held_out[~first], own, ordered)


def memorising_axis(samples: torch.Tensor, real: RealSplit, test: CopyTest, seed: int) -> dict[str, Any]:
    """Copies among samples beside real images of others, the control by planted copies, and what follows."""
    from scipy.stats import binomtest

    verdict, floor = test.judge(samples), test.judge(real.test)
    chosen = np.random.default_rng(seed).permutation(len(real.training))[:_PLANTED]
    copied = real.training[torch.from_numpy(np.sort(chosen))]
    control = {change: flagged_share(test.judge(planted_copies(copied, change, seed))) for change in CHANGES}
    shares = {}
    most = len(real.training) // 2
    for name, images, found, others in (
        ("samples", samples, verdict, real.held_out[whole_groups(np.random.default_rng(seed), len(real.held_out))]),
        ("floor", real.test, floor, real.threshold),
    ):
        near = NeighbourSearch(others[:most], shift=test.search.shift).nearest(images).similarity
        shares[name] = training_share(found.neighbours.similarity, near, groups=real.groups, seed=seed)
    flagged = int(verdict.flagged.sum())
    p = float(binomtest(flagged, len(samples), test.level, alternative="greater").pvalue)
    alarms = flagged_share(floor)
    sound = all(control[change] >= _LEAST.get(change, _LEAST_CHANGED) for change in COVERED)
    sound &= binomtest(int(floor.flagged.sum()), len(real.test), 2 * test.level, alternative="greater").pvalue > _CHANCE
    copies = p < _CHANCE or shares["samples"][1] < _CHANCE
    return {
        "verdict": "found" if copies else "not found" if sound else "can't tell",
        "flagged": flagged / len(samples),
        "flagged_p": p,
        "flagged_floor": alarms,
        "expected_floor": test.level,
        "nearer_to_training": shares["samples"][0],
        "nearer_to_training_p": shares["samples"][1],
        "nearer_to_training_floor": shares["floor"][0],
        "control": control,
        "control_sound": bool(sound),
        "threshold": test.threshold,
        "scores": rounded(verdict.score),
        "scores_floor": rounded(floor.score),
        "nearest": verdict.index.tolist(),
    }


def fidelity_and_diversity(samples: torch.Tensor, real: RealSplit, features: Any, seed: int) -> dict[str, Any]:
    """Both axes on sets of one size, the samples' against half of the held-out images, beside those of the other half.

    Neither half was seen by the generator or the features; the halves are drawn anew some times.
    """
    made, others = image_features(features, samples), image_features(features, real.held_out)
    require_enough(others[: len(others) // 2], "half of held_out")
    size = min(len(made), len(others) // 2)
    random = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, float]]] = {"samples": [], "floor": []}
    for _ in range(_DRAWS):
        order = whole_groups(random, len(others), real.held_out_groups)
        far = order[len(others) - size :]
        against = others[far]
        chosen = {"samples": whole_groups(random, len(made))[:size], "floor": order[:size]}
        for name, places in chosen.items():
            own, images = (made, samples) if name == "samples" else (others, real.held_out)
            own = own[places]
            figures = set_distances(own, against)
            figures["spectrum_db"] = spectrum_distance(images[places], real.held_out[far])
            figures["precision"], figures["recall"] = manifold_share(own, against), manifold_share(against, own)
            figures["mean_distance"] = mean_distance(own) / mean_distance(against)
            figures["nearest_distance"] = nearest_distance(own) / nearest_distance(against)
            rows[name].append(figures)
    mean = {name: {k: float(np.mean([r[k] for r in own])) for k in own[0]} for name, own in rows.items()}
    first, second = ("fid", "mmd", "precision", "spectrum_db"), ("mean_distance", "nearest_distance", "recall")
    axes: dict[str, Any] = {"images_a_set": size}
    for axis, names in (("fidelity", first), ("diversity", second)):
        axes[axis] = {k: mean["samples"][k] for k in names} | {f"{k}_floor": mean["floor"][k] for k in names}
    axes["fidelity"]["fid_over_floor"] = mean["samples"]["fid"] / max(mean["floor"]["fid"], 1e-12)
    return axes


def whole_groups(random: np.random.Generator, count: int, groups: np.ndarray | None = None) -> torch.Tensor:
    """Indices of all images in random order, each group's one after another.

    Example:
        >>> drawn = whole_groups(np.random.default_rng(0), 6, np.array([0, 1, 2, 0, 1, 2]))
        >>> sorted(drawn[:2].tolist()) in ([0, 3], [1, 4], [2, 5])
        True
    """
    own = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    return torch.from_numpy(np.argsort(random.permutation(own.max() + 1)[own], kind="stable"))


def flagged_share(verdict: CopyVerdict) -> float:
    """Share of flagged images."""
    return float(verdict.flagged.double().mean())


def rounded(values: torch.Tensor) -> list[float]:
    """Plain numbers of four digits."""
    return [round(v, 4) for v in values.tolist()]

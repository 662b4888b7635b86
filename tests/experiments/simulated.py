"""Readers whose preference, skill and chance are known, and how often the intervals of their studies hold the truth."""

import numpy as np

from monai_medaug.experiments.reader_study.scoring import _preference, _rating

KINDS = (_preference, 3), (_rating, 5)


def simulated_readings(rng, readers, cases, shift, by_reader, by_case):
    """Preferences in three steps and ratings in five, of a latent scale with readers, cases and chance."""
    latent = shift + by_reader * rng.standard_normal((readers, 1)) + by_case * rng.standard_normal((1, cases))
    preferred = np.digitize(latent + rng.standard_normal((readers, cases)), [-0.4, 0.4]).astype(float)
    image = rng.standard_normal((1, cases, 1)) + latent[..., None] * np.array([-0.5, 0.5])
    image = image + 0.7 * rng.standard_normal((readers, cases, 2))
    return preferred, np.digitize(image, [-1.2, -0.4, 0.4, 1.2]).astype(float)


def coverage(readers, cases=20, shift=0.0, by_reader=0.4, by_case=0.7, studies=80, draws=200) -> np.ndarray:
    """The share of studies whose 95 % interval holds what many readers find in many cases: of preference and rating."""
    spread = shift, by_reader, by_case
    many = simulated_readings(np.random.default_rng(0), 100, 300, *spread)
    truth = [kind(x, steps, "ab", (0.95, 10, 0))["value"] for (kind, steps), x in zip(KINDS, many, strict=True)]
    truth = truth if shift else [0.5, 0.5]
    held = np.zeros(2)
    for seed in range(studies):
        readings = simulated_readings(np.random.default_rng(seed + 1), readers, cases, *spread)
        for n, (kind, steps) in enumerate(KINDS):
            low, high = kind(readings[n], steps, "ab", (0.95, draws, 0))["interval"]
            held[n] += low <= truth[n] <= high
    return held / studies

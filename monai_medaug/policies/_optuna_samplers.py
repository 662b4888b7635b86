"""Samplers whose draws depend on the seed and on the trial's number alone, so that workers and resumed runs agree."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

_PARENTS = 0.25
"""Share of the judged policies that others descend from."""


class NumberedSampler(BaseSampler):
    """A sampler of Optuna's, seeded anew for each trial by its number.

    A seed of Optuna's own would be spent from the start again by each worker and after each interruption, and give the
    same draws twice.

    Args:
        name: ``"tpe"`` or ``"random"``.
        seed: of the search.
        startup: random trials before the estimator begins.
    """

    def __init__(self, name: str, seed: int, startup: int) -> None:
        self._name, self._seed, self._startup = name, seed, startup
        self._number, self._inner = -1, self._made(0)

    def _made(self, number: int) -> BaseSampler:
        own = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._name == "random":
            return RandomSampler(seed=own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of features that Optuna calls experimental
            # policies that others are trying count as bad ones, so that workers look elsewhere
            return TPESampler(seed=own, n_startup_trials=self._startup, constant_liar=True)

    def _for(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number, self._inner = trial.number, self._made(trial.number)
        return self._inner

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._for(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Any:
        return self._for(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        return self._for(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._for(trial).after_trial(study, trial, state, values)


class MutationSampler(BaseSampler):
    """Mutation of a population: a copy of one of the best policies, of which some quantities change.

    The first ``population`` policies are random. Each later one descends from one of the best quarter of those judged
    so far (at least one): each operation is drawn anew, and each number moves by up to ``step``, with the probability
    ``rate``. Parents are read from the study and never changed.

    Args:
        seed: of the search.
        population: random policies at the start.
        rate: of mutation.
        step: greatest change of a number.
    """

    def __init__(self, seed: int, population: int = 10, rate: float = 0.2, step: float = 0.2) -> None:
        self._seed, self._population, self._rate, self._step = seed, population, rate, step
        self._number, self._random = -1, np.random.default_rng(seed)
        self._parent: dict[str, Any] = {}
        self._changed: set[str] = set()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Any:
        return {}

    def _begin(self, study: Study, trial: FrozenTrial) -> None:
        self._number, self._random = trial.number, np.random.default_rng([self._seed, trial.number])
        judged = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE and is_feasible(t)]
        self._parent, self._changed = {}, set()
        if trial.number >= self._population and judged:
            judged.sort(key=lambda t: (-(t.value or 0.0), t.number))
            best = judged[: max(1, round(_PARENTS * len(judged)))]
            self._parent = dict(best[self._random.integers(len(best))].params)
            names = list(self._parent)
            moved = self._random.uniform(size=len(names)) < self._rate
            moved[self._random.integers(len(names))] |= not moved.any()  # else the trial would be its parent again
            self._changed = {name for name, changes in zip(names, moved, strict=True) if changes}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        if trial.number != self._number:
            self._begin(study, trial)
        random, inherited = self._random, self._parent.get(param_name)
        if inherited is not None and param_name not in self._changed:
            return inherited
        if isinstance(param_distribution, CategoricalDistribution):
            others = [choice for choice in param_distribution.choices if choice != inherited]
            return others[random.integers(len(others))] if others else inherited
        low, high = param_distribution.low, param_distribution.high
        if inherited is None:
            return random.uniform(low, high)
        return float(np.clip(inherited + random.uniform(-self._step, self._step), low, high))


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial keeps all its constraints."""
    return all(value <= 0 for value in trial.constraints.values())

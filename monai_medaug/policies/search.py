"""A search for a policy: trials of an objective, by one or several processes, interrupted and resumed at any point."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_medaug.core.arguments import choice, flag, number, whole_number
from monai_medaug.policies.policy import AugmentationPolicy
from monai_medaug.policies.result import PolicySearch
from monai_medaug.policies.space import PolicySpace
from monai_medaug.policies.study import begun_trial, opened_study, quiet_optuna, release_dead_trials, search_result
from monai_medaug.policies.workers import named_worker

SAMPLERS = ("tpe", "mutation", "random")


class PolicyPruned(Exception):
    """Raised in an objective by `PolicyTrial.report`, and let through by it: the trial ends here."""


class PolicyTrial:
    """What an objective may know and say of its trial.

    Attributes:
        number: of the trial in the study, from 0.
        seed: of the search, the same for all trials, so that policies are compared under equal chances.
    """

    def __init__(self, number: int, seed: int, trial: Any = None, epochs: int | None = None) -> None:
        self.number, self.seed, self._trial, self._epochs = number, seed, trial, epochs

    def report(self, score: float, epoch: int) -> None:
        """Tell the score after an epoch, from 1.

        Raises:
            PolicyPruned: others were better at that point.
        """
        if self._trial is None:
            return
        self._trial.report(float(score), int(epoch))
        last = self._epochs is not None and epoch >= self._epochs
        if not last and self._trial.should_prune():
            raise PolicyPruned

    def constrain(self, name: str, value: float) -> None:
        """Tell how far a limit is exceeded; up to 0 it is kept."""
        if self._trial is not None:
            self._trial.set_constraint(name, float(value))


Objective = Callable[[AugmentationPolicy, PolicyTrial], float]
Constraint = Callable[[AugmentationPolicy], Mapping[str, float]]


def search_policy(
    objective: Objective,
    space: PolicySpace | str,
    storage: str | Path,
    trials: int | None = None,
    hours: float | None = None,
    device_hours: float | None = None,
    sampler: str = "tpe",
    epochs: int | None = None,
    constraint: Constraint | None = None,
    seed: int = 0,
    startup: int = 10,
    progress: bool = True,
) -> PolicySearch:
    """Search the policy with the greatest score, within a budget, by trials of an objective.

    The study is on disk after each step: interrupted at any point, even by a kill, the same call goes on, and no
    finished trial is lost. Calls in several processes, on one machine or on several that share the storage, work on one
    study: no trial is done twice, and together they keep to the budget. Each trial's draws depend on ``seed`` and its
    number, not on who works on it.

    A journal file is locked by the kernel where the system can, so that a killed writer holds up nobody, and its torn
    last line is cut off on opening; elsewhere (Windows) the lock that a kill leaves costs the others 30 seconds. A
    trial whose process died counts as failed, and its place in the budget is free again: at once on the same machine;
    on another, where nobody can look, after 24 hours without a word.

    Args:
        objective: from a policy and a `PolicyTrial` to a score, greater is better; such as
            `monai_medaug.experiments.PolicyTraining` or `DensityMatching`. One with epochs calls ``trial.report(score,
            epoch)`` after each.
        space: a `PolicySpace`, or a modality for its defaults.
        storage: the journal file, or the URL of a data base, such as ``"postgresql://…"``, by SQLAlchemy.
        trials: budget, of trials that end in a score or are pruned; failed ones don't count.
        hours: budget, of this call's time; a trial that has begun is finished.
        device_hours: budget, of the trials' time, over all workers and calls: with one GPU each, GPU-hours.
        sampler: ``"tpe"``: tree-structured Parzen estimators; ``"mutation"``: a population that mutates, a fifth of the
            quantities by up to 0.2, from the best quarter, see `MutationSampler`; ``"random"``.
        epochs: the most that an objective reports, for Hyperband to prune by; None takes its attribute ``epochs``, or
            prunes nothing.
        constraint: from a policy to numbers by name that must not exceed 0, such as `PreservationConstraint`. A policy
            that does so is not tried further, and the sampler is told.
        seed: of the search.
        startup: random trials at the beginning.
        progress: show a progress bar with the best score.

    Returns:
        All trials so far. ``found.best`` is the best policy; look at ``found.top(5)`` before you trust it: scores of
        many trials on one validation set favour luck, so retrain the best by `judge_policies` on other data.

    Raises:
        ImportError: Optuna is missing: ``pip install monai-medaug[search]``.
        TypeError: ``objective`` can't be called.
        ValueError: an argument is out of its range, there is no budget, the score is not finite, or the storage holds
            another search.

    Source: E. D. Cubuk et al., AutoAugment, CVPR 2019; S. Lim et al., Fast AutoAugment, NeurIPS 2019; J. Bergstra et
    al., Algorithms for hyper-parameter optimization, NeurIPS 2011; L. Li et al., Hyperband, JMLR 2018.

    Example:
        >>> import tempfile
        >>> def strength(policy, trial):
        ...     return -sum(step.magnitude for sub in policy.sub_policies for step in sub.steps)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = search_policy(strength, "mri", f"{folder}/study.journal", trials=3, progress=False)
        >>> len(found["trials"]), found.best.modality
        (3, 'mri')
    """
    if not callable(objective):
        raise TypeError(f"objective must be a function of a policy and a trial, got {type(objective).__name__}")
    chosen = space if isinstance(space, PolicySpace) else PolicySpace(space)
    if trials is None and hours is None and device_hours is None:
        raise ValueError("trials, hours or device_hours must be given as the budget, got none")
    budget: dict[str, Any] = {
        "trials": None if trials is None else whole_number("trials", trials, 1),
        "hours": None if hours is None else number("hours", hours, 0),
        "device_hours": None if device_hours is None else number("device_hours", device_hours, 0),
    }
    settings: dict[str, Any] = {
        "space": chosen.to_dict(),
        "sampler": choice("sampler", sampler, SAMPLERS),
        "seed": whole_number("seed", seed, 0, 2**31 - 1),
        "startup": whole_number("startup", startup, 1),
        "epochs": getattr(objective, "epochs", None) if epochs is None else whole_number("epochs", epochs, 1),
        "objective": dict(getattr(objective, "settings", {})),
        "constraint": None if constraint is None else dict(getattr(constraint, "settings", {})),
    }
    if importlib.util.find_spec("optuna") is None:
        raise ImportError("search_policy needs Optuna: pip install monai-medaug[search]")
    with quiet_optuna():
        study = opened_study(storage, settings)
        worker = _Worker(study, chosen, settings, budget, objective, constraint)
        worker.run(flag("progress", progress))
        return search_result(study, settings, budget)


class _Worker:
    """This process's share of a study."""

    def __init__(
        self,
        study: Any,
        space: PolicySpace,
        settings: dict[str, Any],
        budget: dict[str, Any],
        objective: Objective,
        constraint: Constraint | None,
    ) -> None:
        self.study, self.space, self.settings, self.budget = study, space, settings, budget
        self.objective, self.constraint = objective, constraint
        self.began, self.name = time.monotonic(), ""

    def run(self, progress: bool) -> None:
        """Work until the budget is used up."""
        with named_worker() as self.name, tqdm(total=self.budget["trials"], unit="trial", disable=not progress) as bar:
            self._show(bar)
            while self._reserve():
                trial = begun_trial(self.study, self.name)
                if self._beyond_budget(trial.number):
                    self._tell(trial, failed=True)
                    continue
                self._try(trial)
                self._show(bar)

    def _reserve(self) -> bool:
        """Whether the budget has room for one more trial; waits while others' running ones may still fail."""
        release_dead_trials(self.study)
        if self.budget["hours"] is not None and time.monotonic() - self.began >= self.budget["hours"] * 3600:
            return False
        counted = [t for t in self.study.get_trials(deepcopy=False) if t.state.name != "FAIL"]
        if self.budget["device_hours"] is not None:
            now = datetime.now()
            spent = sum(((t.datetime_complete or now) - t.datetime_start).total_seconds() for t in counted)
            if spent >= self.budget["device_hours"] * 3600:
                return False
        return self.budget["trials"] is None or len(counted) < self.budget["trials"]

    def _beyond_budget(self, own: int) -> bool:
        """Whether others asked for the last places at the same moment, and before."""
        if self.budget["trials"] is None:
            return False
        earlier = [t for t in self.study.get_trials(deepcopy=False) if t.number < own and t.state.name != "FAIL"]
        return len(earlier) >= self.budget["trials"]

    def _try(self, trial: Any) -> None:
        from optuna import TrialPruned

        params = self.space.suggested(trial.suggest_categorical, trial.suggest_float)
        policy = self.space.policy(params)
        own = PolicyTrial(trial.number, self.settings["seed"], trial, self.settings["epochs"])
        try:
            if self.constraint is not None:
                limits = dict(self.constraint(policy))
                for name, value in limits.items():
                    own.constrain(name, value)
                if any(value > 0 for value in limits.values()):
                    raise PolicyPruned
            score = float(self.objective(policy, own))
            if not score - score == 0:
                raise ValueError(f"objective must return a finite score, got {score} for {policy!r}")
        except (PolicyPruned, TrialPruned):
            self._tell(trial, pruned=True)
        except BaseException:
            self._tell(trial, failed=True)
            raise
        else:
            self._tell(trial, score)

    def _tell(self, trial: Any, score: float | None = None, pruned: bool = False, failed: bool = False) -> None:
        from optuna.trial import TrialState

        state = TrialState.FAIL if failed else TrialState.PRUNED if pruned else TrialState.COMPLETE
        self.study.tell(trial, score, state, skip_if_finished=True)

    def _show(self, bar: Any) -> None:
        trials = self.study.get_trials(deepcopy=False)
        bar.n = sum(t.state.name in ("COMPLETE", "PRUNED") for t in trials)
        scores = [t.value for t in trials if t.state.name == "COMPLETE" and all(v <= 0 for v in t.constraints.values())]
        bar.set_postfix_str(f"best {max(scores):.4f}" if scores else "", refresh=False)
        bar.refresh()

"""A study of Optuna: opened, its trials begun, released when their workers died, and read as plain values."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from monai_medaug.policies.result import PolicySearch
from monai_medaug.policies.space import PolicySpace
from monai_medaug.policies.workers import is_alive

_STUDY = "policy search"
_STALE_HOURS = 24.0
_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def begun_trial(study: Any, worker: str) -> Any:
    """`Study.ask` for a trial that knows from its first moment who works on it, so that a kill leaves none nameless."""
    from optuna.trial import Trial, TrialState, create_trial

    begun = create_trial(state=TrialState.RUNNING, user_attrs={"worker": worker})
    return Trial(study, study._storage.create_new_trial(study._study_id, template_trial=begun))


def release_dead_trials(study: Any) -> int:
    """Mark the running trials of dead workers as failed; how many there were."""
    from optuna.trial import TrialState

    found = 0
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        alive = is_alive(trial.user_attrs.get("worker", ""))
        age = (datetime.now() - trial.datetime_start).total_seconds() / 3600
        if alive is False or (alive is None and age > _STALE_HOURS):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            found += 1
    return found


def search_result(study: Any, settings: Mapping[str, Any], budget: Mapping[str, Any]) -> PolicySearch:
    """All trials of a study as plain values."""
    space = _space_of(settings)
    trials = []
    for trial in study.get_trials(deepcopy=False):
        complete = len(trial.params) == 3 * space.sub_policies * space.steps
        score = trial.value if trial.value is not None else (list(trial.intermediate_values.values()) or [None])[-1]
        ended = trial.datetime_complete
        origin = {"study": _STUDY, "seed": settings["seed"], "trial": trial.number, "sampler": settings["sampler"]}
        origin |= {} if score is None else {"score": score}
        trials.append(
            {
                "number": trial.number,
                "state": _STATES.get(trial.state.name, "running"),
                "score": score,
                "epochs": max(trial.intermediate_values, default=0),
                "seconds": None if ended is None else round((ended - trial.datetime_start).total_seconds(), 3),
                "constraints": dict(trial.constraints),
                "policy": space.policy(trial.params, origin).to_dict() if complete else None,
            }
        )
    return PolicySearch(settings=dict(settings), budget=dict(budget), trials=trials)


def _space_of(settings: Mapping[str, Any]) -> PolicySpace:
    held: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings["space"].items()}
    return PolicySpace(**held)


def opened_study(storage: str | Path, settings: dict[str, Any]) -> Any:
    """The study in the storage, new or of the same search."""
    import optuna

    from monai_medaug.policies._optuna_samplers import MutationSampler, NumberedSampler
    from monai_medaug.policies._optuna_storage import opened_storage

    name, seed, startup = settings["sampler"], settings["seed"], settings["startup"]
    sampler = MutationSampler(seed, startup) if name == "mutation" else NumberedSampler(name, seed, startup)
    pruner: Any = optuna.pruners.NopPruner()
    if settings["epochs"] is not None:
        pruner = optuna.pruners.HyperbandPruner(1, settings["epochs"], 3)
    try:
        study = optuna.create_study(
            storage=opened_storage(storage),
            study_name=_STUDY,
            direction="maximize",
            sampler=sampler,
            pruner=pruner,
            load_if_exists=True,
        )
    except (KeyError, TypeError) as error:
        kind = type(error).__name__
        raise ValueError(f"storage must be the journal of a search, got another file ({kind})") from None
    before = study.user_attrs.get("settings")
    if before is None:
        study.set_user_attr("settings", settings)
    elif changed := [key for key in settings if before.get(key) != settings[key]]:
        raise ValueError(
            f"storage must hold the same search, got one with another {changed[0]} ({before.get(changed[0])!r}, now "
            f"{settings[changed[0]]!r}): give another file"
        )
    return study


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's lines about each study, and its warnings that a feature is experimental."""
    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.filterwarnings("ignore", message=".*experimental.*")
            yield
    finally:
        logger.setLevel(before)

"""A search whose trials are worked by Ray tasks, on this machine or on a cluster."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from monai_medaug.core.arguments import whole_number
from monai_medaug.policies.result import PolicySearch
from monai_medaug.policies.search import Constraint, Objective, search_policy
from monai_medaug.policies.space import PolicySpace

_RETRIES = 20
"""How often Ray begins a task again whose process died."""


def search_on_ray(
    objective: Objective,
    space: PolicySpace | str,
    storage: str | Path,
    workers: int = 2,
    address: str | None = None,
    gpus: float = 0.0,
    constraint: Constraint | None = None,
    **settings: Any,
) -> PolicySearch:
    """`search_policy` by several Ray tasks that share the study.

    Each task is a worker of the study, as another process that calls `search_policy` would be; Ray only starts them,
    and begins one again whose process died. (Ray Tune has a searcher on Optuna too, but it ignores pruners.) A killed
    worker loses the trial that it was at; finished ones are in the study, and the budget is kept to the trial.

    Args:
        objective: as for `search_policy`; it goes to the tasks by cloudpickle, lambdas included.
        space: as there.
        storage: a journal in a folder, or the URL of a data base, that all nodes reach under this name.
        workers: tasks at a time, one CPU each.
        address: of a Ray cluster, such as ``"auto"``; None starts Ray on this machine for the time of the call, unless
            it runs already.
        gpus: of each task.
        constraint: as for `search_policy`.
        settings: further arguments of `search_policy`; ``hours`` is the time of each task.

    Raises:
        ImportError: Ray or Optuna is missing: ``pip install monai-medaug[ray,search]``.
        ValueError: an argument is out of its range.
    """
    count = whole_number("workers", workers, 1)
    for package, extra in (("ray", "ray"), ("optuna", "search")):
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"search_on_ray needs {package}: pip install monai-medaug[{extra}]")
    if "progress" in settings:
        raise TypeError("settings must not hold progress: the tasks run elsewhere")
    import ray

    place = str(storage) if "://" in str(storage) else str(Path(storage).absolute())
    began = not ray.is_initialized()
    if began:
        own: dict[str, Any] = {"num_cpus": count, "include_dashboard": False} if address is None else {}
        ray.init(address=address, log_to_driver=False, **own)
    try:

        @ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_RETRIES)
        def work(held: tuple[Any, Any, Any]) -> None:
            search_policy(held[0], held[1], place, constraint=held[2], progress=False, **settings)

        held = ray.put((objective, space, constraint))
        ray.get([work.remote(held) for _ in range(count)])
    finally:
        if began:
            ray.shutdown()
    return search_policy(objective, space, place, constraint=constraint, progress=False, **{**settings, "hours": 0})

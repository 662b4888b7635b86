"""How the tests start workers that know nothing of their process but what is pickled for them."""

import multiprocessing
from typing import Any


def fresh_processes(method: str) -> Any:
    """The context of ``"spawn"``, which imports everything in each worker, or of ``"forkserver"``.

    The latter imports once for all workers of a test process, which saves six seconds of each.
    """
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["monai_medaug"])
    return context

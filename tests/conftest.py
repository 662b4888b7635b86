"""One thread a test process, for the tests run side by side and small tensors gain nothing from more; fresh notices."""

import pytest
import torch

from .notices import unsaid

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _notices_are_said_anew():
    """No test depends on what another has said."""
    unsaid()


def pytest_collection_modifyitems(config, items):
    """Experiments of minutes run when they are asked for."""
    if "slow" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: run with -m slow"))

"""One thread a test process, for the tests run side by side and small tensors gain nothing from more; fresh notices."""

import pytest
import torch

from .notices import unsaid

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _notices_are_said_anew():
    """No test depends on what another has said."""
    unsaid()

"""A search on Ray: shared by tasks, and a killed worker loses no finished trial."""

import os
import threading
import time
from pathlib import Path

import pytest

from monai_medaug.policies import search_on_ray

from .searching import SPACE, Wished, outcomes

pytest.importorskip("optuna")
ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


class Told(Wished):
    """Leaves the number of its process in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(0.3)
        self.folder = folder

    def __call__(self, policy, trial) -> float:
        (self.folder / str(os.getpid())).touch()
        return super().__call__(policy, trial)


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}},
    )
    yield
    ray.shutdown()


def test_two_tasks_share_the_trials(cluster, tmp_path):
    (tmp_path / "pids").mkdir()
    found = search_on_ray(Told(tmp_path / "pids"), SPACE, tmp_path / "study", trials=10)
    assert len(outcomes(found)) == 10
    assert len({str(policy) for _, _, policy in outcomes(found)}) == 10
    assert len([*(tmp_path / "pids").iterdir()]) == 2
    assert str(os.getpid()) not in os.listdir(tmp_path / "pids")


def test_kill_9_of_workers_loses_no_finished_trial_and_keeps_the_budget(cluster, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    killed = []

    def kill_three() -> None:
        while len(killed) < 3:
            for file in pids.iterdir():
                if file.name not in killed and len(killed) < 3:
                    time.sleep(0.1 + 0.15 * len(killed))
                    os.kill(int(file.name), 9)
                    killed.append(file.name)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_three, daemon=True)
    killer.start()
    found = search_on_ray(Told(pids), SPACE, tmp_path / "study", trials=12)
    assert len(killed) == 3
    assert len(outcomes(found)) == 12
    assert sum(t["state"] == "running" for t in found["trials"]) == 0
    assert sum(t["state"] == "failed" for t in found["trials"]) >= 2


def test_errors():
    with pytest.raises(ValueError, match="workers must be"):
        search_on_ray(Wished(), SPACE, "study", workers=0, trials=1)
    with pytest.raises(TypeError, match="must not hold progress"):
        search_on_ray(Wished(), SPACE, "study", trials=1, progress=True)

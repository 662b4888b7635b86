"""Many scans on Ray Data: the same bytes, and actors that are killed."""

import os

import pytest

from monai_medaug.commands.many.on_ray import on_ray
from monai_medaug.scans.dataset import ScanCase
from tests.commands.command_line import augment
from tests.commands.many.data_sets import Deadly, contents, decathlon

ray = pytest.importorskip("ray")
pytest.importorskip("pyarrow")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def _cluster():
    os.environ["RAY_AUTH_MODE"] = "disabled"
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    yield
    ray.shutdown()


@pytest.mark.usefixtures("_cluster")
def test_forty_volumes_are_the_same_bit_for_bit(tmp_path):
    data = decathlon(tmp_path / "in", 36, 4)
    for out, how in (("one", ()), ("ray", ("--jobs", 2, "--engine", "ray"))):
        assert augment(data, tmp_path / out, "--seed", 5, *how) == 0
    one = contents(tmp_path / "one")
    assert len(one) == 36 * 4 + 4 * 3 + 1
    assert contents(tmp_path / "ray") == one


@pytest.mark.usefixtures("_cluster")
def test_a_killed_actor_takes_nobody_elses_scan_along(tmp_path):
    names = ["a", "b", "c once", "d", "e always", "f"]
    cases = [ScanCase(name, (), name=name) for name in names]
    found = {outcome.name: outcome.state for outcome in on_ray(Deadly(tmp_path), cases, 2, None)}
    assert found == {name: "failed" if name == "e always" else "done" for name in names}

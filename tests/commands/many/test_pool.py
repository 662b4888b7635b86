"""The pool: the same results as in this process, and processes that are killed in the middle."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monai_medaug.commands.many import pool
from monai_medaug.commands.many import run as many_run
from monai_medaug.commands.many.pool import in_pool, in_process
from monai_medaug.commands.many.work import attempt
from monai_medaug.scans.dataset import ScanCase
from tests.commands.command_line import augment, run
from tests.commands.many.data_sets import Deadly, contents, decathlon


@pytest.fixture
def _quick_start(monkeypatch):
    """Forks, which start at once; fresh processes are those of the slow tests."""
    monkeypatch.setattr(pool, "_START", "fork")


def cases(*names):
    return [ScanCase(name, (), name=name) for name in names]


def unfinished(out):
    return [*out.rglob(".unfinished-*")]


def pickled_pool(work, cases, jobs):
    """What a pool does, without its processes: `test_two_processes_write_the_bytes_of_one` has them."""
    assert jobs == 2
    for case in reversed(cases):
        yield attempt(*pickle.loads(pickle.dumps((work, case))))


@pytest.mark.parametrize(
    "command", [("augment", "--modality", "ct", "--seed", 5, "--strength", "light"), ("restore", "--method", "median")]
)
def test_the_work_goes_by_pickle_in_any_order(tmp_path, monkeypatch, command):
    data = decathlon(tmp_path / "in", 2)
    monkeypatch.setattr(many_run, "in_pool", pickled_pool)
    for out, jobs in (("one", 1), ("two", 2)):
        assert run(*command, data, "--out", tmp_path / out, "--jobs", jobs) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 1 + 2 * (4 if command[0] == "augment" else 2)


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one(tmp_path):
    data = decathlon(tmp_path / "in", 36, 4)
    for out, jobs in (("one", 1), ("two", 2)):
        assert augment(data, tmp_path / out, "--seed", 5, "--jobs", jobs) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 36 * 4 + 4 * 3 + 1


@pytest.mark.usefixtures("_quick_start")
def test_a_killed_process_takes_nobody_elses_scan_along(tmp_path):
    names = ["a", "b", "c once", "d", "e always", "f", "g"]
    found = {outcome.name: outcome for outcome in in_pool(Deadly(tmp_path), cases(*names), 2)}
    assert [*sorted(found)] == names
    assert {name: o.state for name, o in found.items() if o.state != "done"} == {"e always": "failed"}
    assert "its worker process died" in found["e always"].reason
    assert "begun again" in found["c once"].notes[0]
    written = {path.name for path in tmp_path.iterdir() if path.suffix in (".a", ".b")}
    assert written == {f"{name}.{n}" for name in names if name != "e always" for n in "ab"}


@pytest.mark.usefixtures("_quick_start")
def test_processes_that_only_die_are_not_started_for_ever(tmp_path):
    with pytest.raises(ChildProcessError):
        [*in_pool(Deadly(tmp_path), cases(*(f"{n} always" for n in range(20))), 2)]
    assert len([*tmp_path.glob("died *")]) <= 6


def test_what_nobody_expects_is_an_outcome(tmp_path):
    class Odd(Deadly):
        def __call__(self, case):
            raise {"os": OSError(28, "No space left on device", "/home/Mueller"), "key": KeyError("Mueller")}[case.key]

    found = [*in_process(Odd(tmp_path), cases("os", "key"))]
    assert [outcome.state for outcome in found] == ["failed", "failed"]
    assert found[0].reason == "cannot write the results: No space left on device"
    assert found[1].reason.startswith("unexpected KeyError: run the command on this scan alone")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whom", "number", "code"), [("worker", 9, 0), ("main", 9, -9), ("main", 2, 130), ("group", 2, 130)]
)
def test_signals_in_the_middle_of_forty(tmp_path, whom, number, code):
    data, out = decathlon(tmp_path / "in", 36, 4), tmp_path / "out"
    command = [sys.executable, "-m", "monai_medaug", "augment", data, "--modality", "ct", "--out", out, "--seed", 5]
    command = [str(part) for part in [*command, "--jobs", 2]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, env=environment
    )
    while len(done := [p for p in out.rglob("*_report.json") if ".unfinished" not in str(p)]) < 5:
        assert process.poll() is None
        time.sleep(0.05)
    before = {path: path.stat().st_mtime_ns for path in done}
    workers = [int(n) for n in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    workers = [n for n in workers if b"spawn_main" in Path(f"/proc/{n}/cmdline").read_bytes()]
    assert len(workers) == 2
    if whom == "group":
        os.killpg(process.pid, number)
    else:
        os.kill(workers[0] if whom == "worker" else process.pid, number)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == code, said
    assert "Traceback" not in said
    time.sleep(2)
    assert not [n for n in workers if os.path.exists(f"/proc/{n}")]
    if number == signal.SIGINT:
        assert not unfinished(out)
        states = {scan["state"] for scan in json.loads((out / "scans.json").read_text())["scans"].values()}
        assert states == {"done", "missing"}
    assert run(*command[3:]) == 0
    assert len([*out.rglob("*_report.json")]) == 40
    assert not unfinished(out)
    assert before == {path: path.stat().st_mtime_ns for path in before}

"""Searches: repeatable, resumed after kills, shared by processes, within budget and constraints."""

import json
import os
import random
import time

import pytest

pytest.importorskip("optuna")

from monai_medaug.policies import AugmentationPolicy, PolicySearch, PolicySpace, search_policy
from monai_medaug.policies._optuna_storage import MendingLock, mend_journal
from monai_medaug.policies.workers import is_alive, named_worker
from tests.workers import fresh_processes

from .searching import SPACE, Wished, outcomes, search_slowly


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Searches in this process don't wait for the disk; those that are killed do."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def searched(file, trials=8, objective=None, **settings):
    return search_policy(objective or Wished(), SPACE, file, trials=trials, progress=False, **settings)


@pytest.mark.parametrize("sampler", ["tpe", "mutation", "random"])
def test_an_interrupted_search_ends_like_one_in_one_go(sampler, tmp_path):
    """The draws of a trial depend on the seed, its number and what was found, not on the process."""
    whole = searched(tmp_path / "whole", 9, sampler=sampler, startup=4, seed=3)
    for trials in (2, 5, 9):
        parts = searched(tmp_path / "parts", trials, sampler=sampler, startup=4, seed=3)
        assert len(outcomes(parts)) == trials
    assert outcomes(parts) == outcomes(whole)
    assert outcomes(searched(tmp_path / "other", 9, sampler=sampler, startup=4, seed=4)) != outcomes(whole)
    policies = [json.dumps(policy) for _, _, policy in outcomes(whole)]
    assert len(set(policies)) == 9, "a trial was done twice"


def test_the_samplers_find_more_than_chance(tmp_path):
    """Means of the last third of 45 trials, over seeds."""
    mean = {}
    for sampler in ("random", "tpe", "mutation"):
        scores = []
        for seed in (0, 1):
            found = searched(tmp_path / f"{sampler}{seed}", 45, sampler=sampler, seed=seed)
            scores += [score for number, score, _ in outcomes(found) if number >= 30]
        mean[sampler] = sum(scores) / len(scores)
    assert mean["tpe"] > mean["random"] + 0.05
    assert mean["mutation"] > mean["random"] + 0.05


def test_mutation_changes_a_fifth_by_a_fifth_and_leaves_the_parent_alone(tmp_path):
    found = searched(tmp_path / "study", 60, sampler="mutation", startup=10)
    again = searched(tmp_path / "study", 60, sampler="mutation", startup=10)
    assert outcomes(found)[:30] == outcomes(again)[:30], "earlier policies were written to"
    trials = {t["number"]: t for t in found["trials"]}
    kept = total = 0
    for number in range(10, 60):
        flat = _flat(trials[number]["policy"])
        equal = [
            sum(a == b for a, b in zip(flat, other, strict=True))
            for other in (_flat(trials[n]["policy"]) for n in range(number))
            if all(isinstance(a, str) or abs(a - b) <= 0.2 + 1e-3 for a, b in zip(flat, other, strict=True))
        ]
        assert equal, "no earlier policy is so near that it may be the parent"
        kept, total = kept + max(equal), total + len(flat)
    assert 0.75 < kept / total < 0.92


def _flat(policy):
    return [value for sub in policy["sub_policies"] for step in sub["steps"] for value in step.values()]


def test_a_journal_cut_anywhere_in_its_last_line_opens(tmp_path):
    file = tmp_path / "study"
    before = outcomes(searched(file, 4))
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in (last + 1, (last + len(whole)) // 2, len(whole) - 1):
        file.write_bytes(whole[:end])
        found = outcomes(searched(file, 5))
        assert found[:3] == before[:3]
        assert len(found) == 5
        assert all(json.loads(line) for line in file.read_bytes().splitlines())


def test_mending_cuts_no_more_than_the_torn_line(tmp_path):
    file = tmp_path / "journal"
    for data, kept in ((b"", b""), (b"{}\n", b"{}\n"), (b"{", b""), (b"{}\n" + b"x" * 9000, b"{}\n")):
        file.write_bytes(data)
        assert mend_journal(file) == len(data) - len(kept)
        assert file.read_bytes() == kept
    assert mend_journal(tmp_path / "absent") == 0


def started(work, *arguments):
    process = fresh_processes("forkserver").Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def hold_lock(file):
    MendingLock(file).acquire()
    (file.parent / "held").touch()
    time.sleep(60)


def test_a_killed_holder_of_the_lock_holds_up_nobody(tmp_path):
    file = tmp_path / "journal"
    holder = started(hold_lock, file)
    waited_for(tmp_path / "held", -1, holder)
    holder.kill()
    holder.join()
    began = time.monotonic()
    lock = MendingLock(file)
    lock.acquire()
    lock.release()
    assert time.monotonic() - began < 1


def waited_for(file, size, process):
    """Until the journal has grown."""
    end = time.monotonic() + 60
    while not (file.exists() and file.stat().st_size > size):
        assert process.is_alive(), "it ended early"
        assert time.monotonic() < end
        time.sleep(0.005)


def test_kill_9_at_random_moments_loses_no_finished_trial_and_keeps_the_budget(tmp_path):
    file = tmp_path / "study"
    rng = random.Random(1)
    finished: list = []
    for _ in range(3):
        process = started(search_slowly, file, 12, 0.05)
        waited_for(file, file.stat().st_size if file.exists() else 0, process)
        time.sleep(rng.uniform(0.02, 0.4))
        process.kill()
        process.join()
        journal = [json.loads(line) for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        done = sum(entry["op_code"] == 6 and entry["state"] == 1 for entry in journal)
        finished.append(done)
    found = searched(file, 12)
    assert finished == sorted(finished)
    complete = outcomes(found)
    assert len(complete) == 12, "the budget was not kept to the trial"
    assert sum(t["state"] == "running" for t in found["trials"]) == 0
    assert len(complete) - finished[-1] <= 12
    assert outcomes(searched(file, 12)) == complete, "a finished search went on"


def test_two_processes_share_a_study_without_doing_a_trial_twice(tmp_path):
    file = tmp_path / "study"
    workers = [started(search_slowly, file, 14, 0.15) for _ in range(2)]
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    found = searched(file, 14)
    assert len(outcomes(found)) == 14
    assert len({json.dumps(policy) for _, _, policy in outcomes(found)}) == 14
    states = [t["state"] for t in found["trials"]]
    assert states.count("failed") <= 2  # places that both asked for


def test_constraints_keep_policies_from_being_tried_and_from_the_ranking(tmp_path):
    tried = []

    def objective(policy, trial):
        tried.append(policy)
        return Wished()(policy, trial)

    def gentle(policy):
        return {"magnitude": max(s.magnitude for sub in policy.sub_policies for s in sub.steps) - 0.8}

    found = searched(tmp_path / "study", 20, objective, constraint=gentle)
    assert len(tried) == sum(t["state"] == "complete" for t in found["trials"]) < 20
    assert all(gentle(policy)["magnitude"] <= 0 for policy in tried)
    assert all(gentle(policy)["magnitude"] <= 0 for policy in found.top(20))
    assert any(t["constraints"]["magnitude"] > 0 for t in found["trials"])
    assert "outside the constraints" in str(found)
    with pytest.raises(ValueError, match="another constraint"):
        searched(tmp_path / "study", 20, objective)


def test_hyperband_prunes_by_epoch(tmp_path):
    found = searched(tmp_path / "study", 25, Wished(epochs=9))
    pruned = [t for t in found["trials"] if t["state"] == "pruned"]
    assert 3 <= len(pruned) < 25
    assert all(t["epochs"] < 9 for t in pruned)
    assert all(t["epochs"] == 9 for t in found["trials"] if t["state"] == "complete")
    assert found["settings"]["epochs"] == 9


def test_budgets_of_time(tmp_path):
    began = time.monotonic()
    found = search_policy(Wished(0.1), SPACE, tmp_path / "a", hours=0.5 / 3600, progress=False)
    assert 0.4 < time.monotonic() - began < 5
    assert 1 <= len(found["trials"]) <= 5
    for _ in range(2):  # all calls together
        found = search_policy(Wished(0.1), SPACE, tmp_path / "b", device_hours=0.5 / 3600, progress=False)
        assert 0.4 < sum(t["seconds"] for t in found["trials"]) < 1.2


def test_an_interrupt_and_an_error_leave_the_study_in_order(tmp_path):
    for error in (KeyboardInterrupt, ZeroDivisionError):

        def objective(policy, trial, error=error):
            if trial.number % 5 == 3:
                raise error
            return 0.5

        with pytest.raises(error):
            searched(tmp_path / error.__name__, 6, objective)
        found = searched(tmp_path / error.__name__, 6, lambda policy, trial: 0.5)
        assert [t["state"] for t in found["trials"]].count("failed") == 1
        assert len(outcomes(found)) == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trials": 0}, "trials must be"),
        ({"trials": None}, "must be given as the budget"),
        ({"sampler": "genetic"}, "sampler must be one of"),
        ({"seed": -1}, "seed must be"),
        ({"objective": lambda policy, trial: float("nan")}, "objective must return a finite score"),
    ],
)
def test_errors(change, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        searched(tmp_path / "study", **change)


def test_another_search_and_another_file_are_refused(tmp_path):
    searched(tmp_path / "study", 2)
    with pytest.raises(ValueError, match="another seed"):
        searched(tmp_path / "study", 2, seed=1)
    with pytest.raises(ValueError, match="another space"):
        search_policy(Wished(), "ct", tmp_path / "study", trials=2, progress=False)
    (tmp_path / "other").write_text("notes\nmore\n")
    with pytest.raises(ValueError, match="must be the journal of a search"):
        searched(tmp_path / "other")
    assert (tmp_path / "other").read_text() == "notes\nmore\n"
    with pytest.raises(ValueError, match="URL of a data base"):
        searched("nothing://x")
    with pytest.raises(TypeError, match="objective must be a function"):
        search_policy(3, "ct", tmp_path / "study", trials=1)


def test_a_data_base_by_its_url(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    assert len(outcomes(searched(url, 2))) == 2
    assert len(outcomes(searched(url, 3))) == 3


def test_the_result_goes_through_json_and_names_its_policies(tmp_path):
    found = searched(tmp_path / "study", 6)
    again = PolicySearch.from_json(found.to_json())
    assert again == found
    assert again.best == found.best == found.top(3)[0]
    assert found.best.provenance["score"] == max(score for _, score, _ in outcomes(found))
    assert AugmentationPolicy.from_json(found.best.to_json()) == found.best
    assert str(found).startswith("6 trials: 6 complete")
    with pytest.raises(ValueError, match="must have a finished trial"):
        _ = PolicySearch(settings={}, trials=[]).best
    for text in ("{", "[]", '{"trials": 3}'):
        with pytest.raises(ValueError, match="text must be the JSON of a search"):
            PolicySearch.from_json(text)


def test_workers_are_told_apart():
    with named_worker() as name, named_worker() as other:
        assert is_alive(name)
        assert is_alive(other)
        assert name != other
    assert is_alive(name) is False
    machine, number, start, own = name.split("|")
    assert is_alive(f"{machine}|{number}|{int(start) - 1}|{own}") is False, "a number that another process has now"
    assert is_alive(f"{machine}|{os.getppid()}|{int(start) - 1}|{own}") is False
    assert is_alive(f"{machine}|999999999|1|{own}") is False
    assert is_alive(f"{machine.split('/')[0]}/earlier|{number}|{start}|{own}") is False
    assert is_alive(f"elsewhere/x|{number}|{start}|{own}") is None
    assert is_alive("") is None


def test_spaces_are_checked():
    for arguments, said in (
        ({"operations": ("spin",)}, "operations must be one of"),
        ({"sub_policies": 0}, "sub_policies must be"),
        ({"magnitude": (0.5, 0.2)}, "magnitude must be a pair"),
        ({"probability": (0, 2)}, "probability must be"),
    ):
        with pytest.raises(ValueError, match=said):
            PolicySpace("ct", **arguments)

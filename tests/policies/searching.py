"""An objective for tests of searches, and what a process does that searches."""

from __future__ import annotations

import time

from monai_medaug.policies import PolicySpace, search_policy

SPACE = PolicySpace("xray", ("rotate", "gamma", "blur", "contrast"), sub_policies=2, steps=2)


class Wished:
    """Greatest for gentle rotations; as slow as wanted, with as many reports."""

    def __init__(self, seconds: float = 0.0, epochs: int | None = None) -> None:
        self.seconds, self.epochs = seconds, epochs
        self.settings = {"wish": "rotate"}

    def __call__(self, policy, trial) -> float:
        steps = [step for sub in policy.sub_policies for step in sub.steps]
        score = sum((step.operation == "rotate") - abs(step.magnitude - 0.3) for step in steps) / len(steps)
        for epoch in range(1, (self.epochs or 1) + 1):
            time.sleep(self.seconds / (self.epochs or 1))
            if self.epochs is not None:
                trial.report(score * epoch / self.epochs, epoch)
        return score


def search_slowly(storage, trials: int, seconds: float) -> None:
    """In a process of its own."""
    search_policy(Wished(seconds), SPACE, storage, trials=trials, progress=False)


def outcomes(found, state="complete"):
    """Number, score and policy of the trials in a state."""
    return [(t["number"], t["score"], t["policy"]["sub_policies"]) for t in found["trials"] if t["state"] == state]

"""The result of a search: all trials as plain values, the best policies, a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai_medaug.policies.policy import AugmentationPolicy


class PolicySearch(dict):
    """A search as plain values; ``str()`` is a table of the best, `to_json` is for machines.

    Entries: ``settings`` (space, sampler, seed, and what the objective says of itself), ``budget`` (what was asked for
    and what was used) and ``trials``: of each ``number``, ``state`` (``"complete"``, ``"pruned"``, ``"failed"`` or
    ``"running"``), ``score`` (the last one told), ``epochs``, ``seconds``, ``constraints`` and ``policy``.

    Example:
        >>> found = PolicySearch.from_json('{"settings": {}, "trials": []}')
        >>> found.top(3)
        []
    """

    @staticmethod
    def from_json(text: str | Path) -> PolicySearch:
        """From the text, or the file, that `to_json` wrote; policies are read as `AugmentationPolicy.from_json` does.

        Raises:
            ValueError: it is no such thing.
        """
        source = text.read_text(encoding="utf-8") if isinstance(text, Path) else text
        try:
            found = json.loads(source)
        except (json.JSONDecodeError, RecursionError):
            raise ValueError("text must be the JSON of a search, got what can't be read") from None
        if not isinstance(found, dict) or not isinstance(found.get("trials"), list):
            raise ValueError("text must be the JSON of a search, got something else")
        return PolicySearch(found)

    def to_json(self) -> str:
        """The search as JSON text."""
        return json.dumps(self, indent=1, ensure_ascii=False)

    def ranked(self) -> list[dict[str, Any]]:
        """The trials that were judged to the end and keep all constraints, best first."""
        judged = [t for t in self["trials"] if t["state"] == "complete" and is_within(t["constraints"])]
        return sorted(judged, key=lambda t: (-t["score"], t["number"]))

    def top(self, count: int = 1) -> list[AugmentationPolicy]:
        """The best policies, best first; fewer where there are fewer."""
        return [AugmentationPolicy.from_json(json.dumps(t["policy"])) for t in self.ranked()[:count]]

    @property
    def best(self) -> AugmentationPolicy:
        """The best policy.

        Raises:
            ValueError: no trial was judged to the end within the constraints.
        """
        if not (found := self.top(1)):
            raise ValueError("a search must have a finished trial within its constraints, got none")
        return found[0]

    def __str__(self) -> str:
        trials, ranked = self["trials"], self.ranked()
        counts = [f"{sum(t['state'] == s for t in trials)} {s}" for s in ("complete", "pruned", "failed", "running")]
        outside = sum(not is_within(t["constraints"]) for t in trials)
        lines = [f"{len(trials)} trials: {', '.join(c for c in counts if not c.startswith('0 '))}"]
        lines[0] += f", {outside} outside the constraints" if outside else ""
        lines += ["", "| rank | trial | score | policy |", "| --- | --- | --- | --- |"]
        for rank, trial in enumerate(ranked[:5], 1):
            subs = trial["policy"]["sub_policies"]
            said = "; ".join(
                ", ".join(f"{s['operation']} {s['probability']:.2g}/{s['magnitude']:.2g}" for s in sub["steps"])
                for sub in subs
            )
            lines.append(f"| {rank} | {trial['number']} | {trial['score']:.4f} | {said} |")
        return "\n".join([*lines, "", "operation probability/magnitude; a sub-policy is drawn for each sample"])


def is_within(constraints: dict[str, float]) -> bool:
    """Whether all constraints are kept: values up to 0.

    Example:
        >>> is_within({"violations": -0.1}), is_within({"violations": 0.2})
        (True, False)
    """
    return all(value <= 0 for value in constraints.values())

"""The verdict of `PreservingCompose` on attacks, on harmless steps and on the presets' draws, and its time.

Cells hold an answer for the anatomy and one for the pathology: ``n`` rightly no, ``-`` not checked, ``y`` yes where no
harm can be seen or the attack finds nothing to change, **Y a wrong yes** (also to a lesion that can't be seen); of
harmless steps ``y`` rightly yes, **N a wrong no**, **? not checked** though it can be seen, ``-`` rightly not checked;
a blank without a label or lesion, or where the attack doesn't apply.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms.compose import execute_compose

import monai_medaug.transforms as ours
from monai_medaug.core.seeded import seed_children
from tests.transforms.safety.attacks import ATTACKS, BOTH, HARMLESS, Attack
from tests.transforms.safety.changes import inside, ring
from tests.transforms.safety.harm import UNSEEN_LESION, Harm, harm_of, lesion_contrast, unseen, visible
from tests.transforms.safety.scans import Scan, available, scan

PRESETS = {"ct": ours.ct_augmentation, "mr": ours.mri_augmentation, "xray": ours.xray_augmentation}
IGNORED = 255  # marks what the image doesn't show
STRENGTHS = ("light", "standard")
SMEARED = 0.1  # share of a lesion that is padding: nobody accepts more
KEPT_CONTRAST = 0.6  # of the lesion's contrast to noise: a person still accepts the draw


def verdict_on(attack: Attack, given: Scan) -> tuple[dict[str, Any], Harm | None] | None:
    """The verdict and what can be seen of the harm; None where the attack doesn't apply."""
    if attack.lesion and given.lesion is None:
        return None
    given = attack.prepare(given)
    steps = attack.steps(given)
    if steps is None:
        return None
    data = given.sample()
    lesion = None if given.lesion is None else "lesion"
    guard = ours.PreservingCompose(steps, label_key="label", lesion_key=lesion, on_violation="warn")
    out = guard.set_random_state(0)(data)
    verdict = out["image"].applied_operations[-1]["extra_info"]["verdict"]
    same = all(out[k].shape == data[k].shape for k in data)
    return verdict, harm_of(given, {k: out[k][0].numpy() for k in data}) if same else None


def graded(attack: Attack, given: Scan, verdict: dict[str, Any], harm: Harm | None) -> dict[str, str]:
    """A letter for each answer, see above."""
    letters = {"anatomy": " ", "pathology": " "}
    given = attack.prepare(given)
    seen = visible(given)
    for answer in seen:
        said = verdict[answer]
        if answer == "pathology" and said == "yes" and unseen(given):
            letters[answer] = "Y"
            continue
        if attack.wrong == ():
            letters[answer] = {"yes": "y", "no": "N", "not checked": "?" if seen[answer] else "-"}[said]
        else:
            shown = harm is not None and bool(getattr(harm, answer))
            harmed = shown or (attack.always and not (harm is not None and harm.nothing))
            wrong = answer in attack.wrong and harmed
            letters[answer] = {"yes": "Y" if wrong else "y", "no": "n", "not checked": "-"}[said]
    return letters


def attack_table(attacks: Sequence[Attack], names: Sequence[str], explain: bool) -> list[dict[str, Any]]:
    """Measure and print, a line an attack."""
    print(f"{'':<44} " + " ".join(f"{n[:8]:<8}" for n in names))
    results = []
    for attack in attacks:
        cells, harmed = [], 0
        for name in names:
            found = verdict_on(attack, scan(name))
            if found is None:
                cells.append("  ")
                continue
            verdict, harm = found
            letters = graded(attack, scan(name), verdict, harm)
            cells.append("".join(letters.values()))
            shown = {} if harm is None else {a: list(getattr(harm, a)) for a in BOTH}
            harmed += any(shown.get(a) for a in BOTH)
            results.append({"attack": attack.name, "scan": name, **letters, "seen": shown})
            if explain:
                _explain(name, verdict, harm)
        print(f"{attack.name:<44} " + " ".join(f"{c:<8}" for c in cells), flush=True)
    return results


def _explain(name: str, verdict: dict[str, Any], harm: Harm | None) -> None:
    print(f"  {name}: anatomy {verdict['anatomy']}, pathology {verdict['pathology']}")
    for violation in verdict["violations"]:
        print(f"    violated: {violation}")
    for key, value in verdict["checks"].items():
        print(f"    check: {key}: {value}")
    if harm is not None:
        print("    seen: " + ", ".join(f"{k} {v:.2f}" for k, v in harm.figures.items()))
        print(f"    harm: anatomy {harm.anatomy or 'none'}, pathology {harm.pathology or 'none'}")


def summary(results: Sequence[dict[str, Any]], harmless: bool) -> dict[str, int]:
    """Count the letters, and print those that are wrong by group."""
    found = Counter(r[a] for r in results for a in BOTH)
    wrong = {"Y": "wrong yes", "n": "right no", "-": "not checked", "y": "yes, no harm seen"}
    if harmless:
        wrong = {
            "N": "wrong no",
            "Y": "wrong yes",
            "?": "not checked though visible",
            "y": "right yes",
            "-": "not checked, too faint",
        }
    print(", ".join(f"{text} {found[letter]}" for letter, text in wrong.items()))
    for group in ("choose", "judge"):
        bad = Counter(r[a] for r in results for a in BOTH if scan(r["scan"]).group == group)
        print(f"  {group}: " + ", ".join(f"{text} {bad[letter]}" for letter, text in wrong.items()))
    return {text: found[letter] for letter, text in wrong.items()}


# ---- draws of the presets ------------------------------------------------------------------------------------------


def acceptable(given: Scan, out: dict[str, MetaTensor], volume_scale: float, outside: np.ndarray | None) -> bool:
    """Whether a person would keep a draw: the lesion whole and, if it was visible, still as visible.

    A lesion that the padding repeats as stripes from the image's border, ``outside``, is none.
    """
    if given.lesion is None:
        return True
    mask = out["lesion"][0].numpy() > 0
    if outside is not None and (mask & outside).sum() > SMEARED * mask.sum():
        return False
    if not 0.85 <= mask.sum() / (given.lesion.sum() * volume_scale) <= 1.2:
        return False
    moved = replace(given, image=out["image"][0].numpy(), lesion=mask)
    before, after = (lesion_contrast(s.image.astype(float), inside(s), ring(s)) for s in (given, moved))
    return abs(before) < UNSEEN_LESION or after / before >= KEPT_CONTRAST


def draws(modality: str, strength: str, names: Sequence[str], count: int) -> dict[str, Any]:
    """Verdicts on a preset's draws at full strength, and CPU times of the steps with and without the verdict."""
    kinds: dict[bool, Counter] = {True: Counter(), False: Counter()}
    reasons: Counter = Counter()
    seconds = {"guarded": 0.0, "steps": 0.0}
    for seed in range(count):
        given = scan(names[seed % len(names)])
        lesion = None if given.lesion is None else "lesion"
        make = {"keys": "image", "mask_keys": "label", "lesion_key": lesion, "strength": strength}
        preset = PRESETS[modality](**make)
        guard, marking = preset.transforms[0], PRESETS[modality](**make, ignore=IGNORED).transforms[0]
        guard.on_violation = "warn"
        data = given.sample()
        preset.set_random_state(seed)
        start = time.process_time()
        out = preset(data)
        seconds["guarded"] += time.process_time() - start
        record = out["image"].applied_operations[-2]["extra_info"]
        seed_children(marking.transforms, record["seed"])  # the same draws again
        start = time.process_time()
        marked = execute_compose(data, marking.transforms)
        seconds["steps"] += time.process_time() - start
        verdict = record["verdict"]
        figures = [r["extra_info"].get("figures", {}) for r in out["label"].applied_operations]
        outside = None if lesion is None else marked["lesion"][0].numpy() == IGNORED
        accepted = acceptable(given, out, float(np.prod([f.get("volume_scale", 1.0) for f in figures])), outside)
        answers = [verdict[a] for a in visible(given)]
        said = "no" if "no" in answers else "yes" if "yes" in answers else "not checked"
        kinds[accepted][said] += 1
        if said != "yes":
            reasons[f"{given.name}: {'' if accepted else '(not acceptable) '}{_short(verdict['violations'])}"] += 1
    total = sum(sum(k.values()) for k in kinds.values())
    good = kinds[True]
    share = good["yes"] / max(sum(good.values()), 1)
    ratio = seconds["guarded"] / max(seconds["steps"], 1e-9)
    others = kinds[False]
    print(
        f"{modality:<5} {strength:<9} {total:>4} draws, {sum(good.values())} acceptable: yes {share:.1%}, "
        f"no {good['no']}, not checked {good['not checked']}; of the others "
        f"yes {others['yes']}, no {others['no']}; "
        f"CPU {seconds['guarded'] / total * 1e3:.0f} ms guarded, {ratio:.2f} times the steps",
        flush=True,
    )
    for reason, number in reasons.most_common(12):
        print(f"    {number:>3} {reason}")
    return {"modality": modality, "strength": strength, "draws": total, "share_yes": share, "cpu_ratio": ratio}


def _short(violations: Sequence[str]) -> str:
    """Violations without their figures, to be counted."""
    return "; ".join("".join("#" if c.isdigit() else c for c in v)[:70] for v in violations[:2]) or "nothing violated"


def verdict_table(
    only_scan: str | None = None, only_attack: str | None = None, count: int = 30
) -> list[dict[str, Any]]:
    """All of it; ``only_attack`` is a part of the names wanted, and then each verdict is explained."""
    warnings.simplefilter("ignore")
    names = [n for n in available() if only_scan is None or any(part in n for part in only_scan.split(","))]
    for name in names:
        given = scan(name)
        seen = ", ".join(f"{a} {'can be seen' if v else 'too faint to be seen'}" for a, v in visible(given).items())
        print(f"{name:<13} {given.group:<7} {'×'.join(map(str, given.image.shape)):<10} {given.about}; {seen}")
    results: list[dict[str, Any]] = []
    for title, table in (("attacks", ATTACKS), ("harmless", HARMLESS)):
        wanted = [a for a in table if only_attack is None or only_attack in a.name]
        if wanted:
            print(f"\n{title}")
            found = attack_table(wanted, names, explain=only_attack is not None)
            results += [{"table": title, **r} for r in found]
            summary(found, harmless=title == "harmless")
    if count and only_attack is None:
        print("\ndraws")
        for modality in PRESETS:
            some = [n for n in names if scan(n).modality == modality]
            results += [draws(modality, strength, some, count) for strength in STRENGTHS if some]
    return results

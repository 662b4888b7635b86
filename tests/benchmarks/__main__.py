"""``python -m tests.benchmarks spatial``: see the options with ``--help``."""

from __future__ import annotations

import argparse
import json
from itertools import chain
from pathlib import Path

from tests.benchmarks import (
    adversarial,
    batch,
    contact_sheets,
    ct,
    denoise_classical,
    denoise_collaborative,
    denoise_nlm,
    denoise_quality,
    denoise_wavelet,
    dose,
    generation,
    generation_training,
    guard,
    image_quality,
    loader,
    metal,
    mixing,
    motion,
    mri,
    overhead,
    policies,
    projection,
    quality,
    readers,
    restoration,
    restore_memory,
    self_supervised,
    slices,
    spatial,
    strategies,
    training_scans,
    verdict,
    volumes,
    xray,
)
from tests.benchmarks.harness import environment, print_environment, time_table

DENOISE = (denoise_classical, denoise_nlm, denoise_wavelet, denoise_collaborative)
TIMED = {
    "spatial": spatial.rows,
    "dose": dose.rows,
    "mri": mri.rows,
    "xray": xray.rows,
    "projection": projection.rows,
    "ct": ct.rows,
    "batch": batch.rows,
    "mixing": mixing.rows,
    "adversarial": adversarial.rows,
    "denoise": lambda: chain.from_iterable(module.rows() for module in DENOISE),
    "overhead": overhead.rows,
}
TABLES = {
    "quality": lambda options: [
        *image_quality.similarity_table(options.repeats),
        *quality.fold_table(options.seeds or quality.SEEDS),
    ],
    "denoise_quality": lambda _: denoise_quality.denoise_table(),
    "motion": lambda _: motion.motion_table(),
    "guard": lambda options: guard.guard_table(options.repeats),
    "loader": lambda options: loader.loader_table(options.repeats),
    "slices": lambda options: slices.slice_table(options.repeats),
    "volumes": lambda options: volumes.volume_table(options.slices, options.repeats),
    "restoration": lambda options: restoration.restoration_table(options.quick),
    "self_supervised": lambda options: self_supervised.self_supervised_table(quick=options.quick),
    "restore": lambda _: restore_memory.restore_table(),
    "readers": lambda _: readers.reader_table(),
    "verdict": lambda options: verdict.verdict_table(options.scan, options.attack, options.draws),
    "metal": lambda options: metal.metal_table(options.cases, options.images, options.size, options.repeats),
    "contact_sheets": lambda options: contact_sheets.contact_sheets(options.out, options.sheet),
    "strategies": lambda options: strategies.strategy_table(
        options.shift,
        options.fraction,
        range(options.first_seed, options.first_seed + (options.seeds or 5)),
        options.out,
        options.strategy,
        options.baseline,
    ),
    "generation": lambda options: generation.generation_table(options.seeds or 5, options.out),
    "generation_training": lambda options: generation_training.generation_training_table(options.out),
    "policies": lambda options: policies.policy_table(
        options.shift,
        range(options.first_seed, options.first_seed + (options.seeds or 5)),
        options.out,
        options.minutes,
        options.trials,
        options.sampler,
        options.objective,
    ),
    "training_scans": lambda options: training_scans.write_scans(options.out),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Time this package and its peers.")
    parser.add_argument("suite", nargs="+", choices=[*TIMED, *TABLES, "all"], help="what to run")
    parser.add_argument("--repeats", type=int, default=7, help="timings a row, of which the median is shown")
    parser.add_argument("--seeds", type=int, help="seeds of the folding protocol, or of the training of strategies")
    parser.add_argument("--first-seed", type=int, default=0, help="of the training of strategies")
    parser.add_argument("--shift", choices=strategies.SHIFTS, default="lungs", help="data on which strategies train")
    parser.add_argument("--fraction", type=float, default=0.1, help="of the patients that strategies train on")
    parser.add_argument("--strategy", action="append", default=[], metavar="NAME", help="only these strategies")
    parser.add_argument("--objective", choices=("density", "training"), default="density", help="of the policy search")
    parser.add_argument("--sampler", choices=("tpe", "mutation", "random"), default="tpe", help="of the policy search")
    parser.add_argument("--trials", type=int, default=60, help="of the policy search")
    parser.add_argument("--minutes", type=float, default=30, help="of the policy search, at most")
    parser.add_argument(
        "--baseline", metavar="NAME", help="strategy that the others are compared with; default: the first"
    )
    parser.add_argument("--scan", metavar="NAME", help="of the verdict's scans those whose names hold this")
    parser.add_argument("--attack", metavar="NAME", help="the same of its attacks and harmless steps, each explained")
    parser.add_argument("--draws", type=int, default=30, help="draws of each preset that the verdict judges")
    metals = ("generated", "choosing", "catsim", "real", "time")
    parser.add_argument("--cases", choices=metals, default=metals[0], help="slices with metal")
    parser.add_argument("--size", type=int, default=256, help="pixels a side of generated slices with metal")
    parser.add_argument("--images", type=Path, metavar="DIR", help="also draw the slices with metal")
    parser.add_argument("--slices", type=int, default=100, help="of the whole scans of 512²")
    parser.add_argument("--quick", action="store_true", help="of the restoring networks a glimpse")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("contact_sheets"),
        metavar="FOLDER",
        help="for contact sheets, training scans, trained strategies and the generation report",
    )
    parser.add_argument("--sheet", action="append", default=[], choices=contact_sheets.SHEETS, help="only these sheets")
    options = parser.parse_args()
    trained = ("self_supervised", "strategies", "policies", "generation", "generation_training")
    long = ("training_scans", *trained)
    every = [suite for suite in (*TIMED, *TABLES) if suite not in long]
    suites = every if "all" in options.suite else list(dict.fromkeys(options.suite))
    facts = environment()
    print_environment(facts, suites)
    results = {}
    for suite in suites:
        print(f"\n{suite}")
        results[suite] = time_table(TIMED[suite](), options.repeats) if suite in TIMED else TABLES[suite](options)
    if options.json:
        options.json.write_text(json.dumps({"environment": facts, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Are generated images real, various, and nobody's? One report with a floor for each figure, and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.engines.feature_training import train_feature_network
from monai_medaug.engines.generation_monitor import image_features
from monai_medaug.experiments.generation_axes import fidelity_and_diversity, memorising_axis, split_real
from monai_medaug.experiments.generation_task import train_on_synthetic
from monai_medaug.figures.generation import GenerationPictures, generation_figure
from monai_medaug.functional.generation.copies import CopyTest
from monai_medaug.functional.generation.neighbours import Features, NeighbourSearch, comparable

_LEAST_SAMPLES = 20
_LEAST_TRAINING = {True: 8, False: 2}  # with features to train, without
_COPY = 0.02  # pixel distance: a correlation of 0.9998


class GenerationReport(dict):
    """Figures of generated images as plain values; ``str()`` is a text for people, `to_json` is for machines.

    Entries: ``images`` (how many of each set, and whether patients were told apart), ``fidelity`` (``fid``, ``mmd``,
    ``precision``, ``spectrum_db``), ``diversity`` (``mean_distance`` and ``nearest_distance`` in units of real images',
    ``recall``), each beside its ``…_floor``, that of other real images; ``memorising`` (``verdict``, ``flagged``,
    ``nearer_to_training``, ``control``, …) and, with labels, ``task`` (accuracy on held-out images of a network trained
    on generated and on real ones).
    """

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self, indent=1, ensure_ascii=False)

    def __str__(self) -> str:
        size, own, various, copies = (self[k] for k in ("images", "fidelity", "diversity", "memorising"))
        patients = (
            "split by patient" if size["by_patient"] else "PATIENTS NOT KNOWN: held-out images may be of training's"
        )
        lines = [
            f"generation report: {size['samples']} samples, {size['training']} training and {size['held_out']} "
            f"held-out images, {patients}",
            f"  {'':34s} {'samples':>9s} {'real images':>12s}",
        ]
        if size["held_out_copies"]:
            lines.append(f"  {size['held_out_copies']} further held-out images are copies of training images: left out")
        rows = [
            ("fidelity", "FID, less is better", own["fid"], own["fid_floor"]),
            ("", "MMD, less is better", own["mmd"], own["mmd_floor"]),
            ("", "precision", own["precision"], own["precision_floor"]),
            ("", "spectrum, dB off", own["spectrum_db"], own["spectrum_db_floor"]),
            ("diversity", "mean distance", various["mean_distance"], various["mean_distance_floor"]),
            ("", "distance to the nearest", various["nearest_distance"], various["nearest_distance_floor"]),
            ("", "recall", various["recall"], various["recall_floor"]),
            ("memorising", "flagged as copies", copies["flagged"], copies["flagged_floor"]),
            ("", "nearer to training", copies["nearer_to_training"], copies["nearer_to_training_floor"]),
        ]
        if "task" in self:
            task = self["task"]
            rows.append(("task", f"{task['measure']} on held-out", task["synthetic"], task["real"]))
        lines += [f"  {axis:10s} {name:23s} {value:9.3f} {floor:12.3f}" for axis, name, value, floor in rows]
        found = ", ".join(f"{change} {share:.0%}" for change, share in copies["control"].items())
        lines += [f"  planted copies found: {found}", f"  copies of training images: {copies['verdict']}"]
        return "\n".join(lines)


def generation_report(
    samples: torch.Tensor,
    training: torch.Tensor,
    held_out: torch.Tensor,
    training_groups: Sequence[Any] | None = None,
    held_out_groups: Sequence[Any] | None = None,
    sample_labels: torch.Tensor | None = None,
    training_labels: torch.Tensor | None = None,
    held_out_labels: torch.Tensor | None = None,
    features: Features | None = None,
    level: float = 0.025,
    out_dir: str | Path | None = None,
    seed: int = 0,
) -> GenerationReport:
    """Judge generated images on three axes, each figure beside that of real images.

    - *Fidelity*: FID and MMD (MONAI's metrics) from one half of the held-out images, precision (share of samples among
      real images), and how far their spectrum is off (`spectrum_distance`): noise, blur and meshes, which features
      that know an image again overlook. *Diversity*: mean distance of two samples and distance of a sample to the
      nearest other, in units of the real images', and recall (share of real images among samples). The floor is that of
      the other half of the held-out images, of other patients; means over five draws of the halves.
    - *Memorising*: samples that lie nearer to a training image than all but a share ``level`` of held-out images, in
      pixels or features, over mirror images, shifts of 2 pixels and gain (`CopyTest`); and how often a sample's nearest
      real image is a training image, of equally many (`training_share`). The floor is that of held-out images that set
      no threshold. A positive control plants copies of training images, exact, mirrored, shifted and with another gain
      (and, beyond what is searched for, noisy and rotated): a report says ``"not found"`` only if at least 95 % of the
      exact and 80 % of the others are found, else ``"can't tell"``; ``"found"`` if more are flagged, or nearer, than
      chance explains (p < 0.01).
    - *Task*, with all labels: a classifier trained on samples and one trained on as many real images, on held-out ones.

    The held-out images are split in halves by patient; one sets the threshold. Those that are copies of training images
    themselves, which public sets do hold, are left out and counted. Without groups the report says that patients may be
    in both sets, which hides copies. All sets are scaled alike; features are trained on the training
    images unless given. It takes about a minute for a thousand images of 64².

    Args:
        samples: generated images (S, C, H, W), 20 or more.
        training: what the generator learned from (N, C, H, W).
        held_out: images of other patients (M, C, H, W), from which nothing was chosen: ``2 / level`` or more, and more
            than twice as many as a feature vector has numbers (64 if none are given).
        training_groups: patient of each training image.
        held_out_groups: the same of the held-out images.
        sample_labels: class ids (S,).
        training_labels: class ids (N,).
        held_out_labels: class ids (M,).
        features: of images scaled to mean 0 and standard deviation 1; None trains an `ImageFeatureNet`.
        level: expected share of false alarms among new images, 0.001 to 0.2.
        out_dir: folder for ``generation_report.json``, ``.txt`` and ``.png``; None for none. The picture shows training
            images beside samples: it may go no further than they may.
        seed: of all draws.

    Raises:
        ValueError: images don't fit together, are too few, not finite or constant, or patients are in both sets.

    Source: M. Heusel et al., NeurIPS 2017 (FID); T. Kynkäänniemi et al., NeurIPS 2019; C. Meehan et al., AISTATS 2020.

    Example:
        >>> images = torch.rand(160, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> report = generation_report(images[:30], images[:60], images[60:], features=lambda x: x[:, 0, 4, 4:9])
        >>> report["memorising"]["verdict"], report["memorising"]["flagged"]
        ('found', 1.0)
    """
    seed, level = whole_number("seed", seed, 0), number("level", level, 0.001, 0.2)
    images = [comparable(x, n) for x, n in ((samples, "samples"), (training, "training"), (held_out, "held_out"))]
    made, known, others = images
    if len(made) < _LEAST_SAMPLES:
        raise ValueError(f"samples must be {_LEAST_SAMPLES} images or more, got {len(made)}")
    for name, own in (("training", known), ("held_out", others)):
        if own.shape[1:] != made.shape[1:]:
            raise ValueError(f"{name} must have the samples' shape {tuple(made.shape[1:])}, got {tuple(own.shape[1:])}")
    if len(known) < (least := _LEAST_TRAINING[features is None]):
        raise ValueError(f"training must be {least} images or more, got {len(known)}")
    new = ~(NeighbourSearch(known).nearest(others).pixel < _COPY)
    groups, labels = (None if v is None else np.asarray(v).ravel() for v in (held_out_groups, held_out_labels))
    for name, given in (("held_out_groups", groups), ("held_out_labels", labels)):
        if given is not None and len(given) != len(others):
            raise ValueError(f"{name} must be {len(others)}, one for each image, got {len(given)}")
    if not bool(new.any()):
        raise ValueError(f"held_out must hold other images than training, all {len(others)} are copies of its")
    others = others[new]
    groups, labels = (None if v is None else v[new.numpy()] for v in (groups, labels))
    real = split_real(known, others, training_groups, groups, seed)
    if features is None:
        epochs = max(10, 150 // max(1, len(known) // 128))
        features = train_feature_network(known, training_labels, epochs, seed=seed)
    test = CopyTest(known, real.threshold, lambda x: image_features(features, x), level)
    axes = fidelity_and_diversity(made, real, features, seed)
    report = GenerationReport(
        images={
            "samples": len(made),
            "training": len(known),
            "held_out": len(others),
            "held_out_copies": int((~new).sum()),
            "a_set": axes.pop("images_a_set"),
            "by_patient": training_groups is not None and held_out_groups is not None,
        },
        **axes,
        memorising=memorising_axis(made, real, test, seed),
    )
    if sample_labels is not None and training_labels is not None and labels is not None:
        test_set = others, torch.from_numpy(labels)
        report["task"] = train_on_synthetic((made, sample_labels), (known, training_labels), test_set, seed)
    if out_dir is not None:
        folder = Path(out_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "generation_report.json").write_text(report.to_json() + "\n", encoding="utf-8")
        (folder / "generation_report.txt").write_text(f"{report}\n", encoding="utf-8")
        generation_figure(report, GenerationPictures(made, known, others), folder / "generation_report.png")
    return report

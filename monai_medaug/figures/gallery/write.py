"""The gallery: what every transform does to a real image, as one page that needs nothing else."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data.meta_tensor import MetaTensor

from monai_medaug import transforms
from monai_medaug.core.operation import Operation, RandomOperation
from monai_medaug.figures.gallery.images import MISSING_TEXT, GalleryImage, gallery_image
from monai_medaug.figures.gallery.page import GalleryRow, GallerySection, gallery_page
from monai_medaug.figures.gallery.restoration import RESTORATION_TEXT, draw_restoration, noise_trials
from monai_medaug.figures.gallery.rows import RowPanel, draw_row, quantity_text, setting_text
from monai_medaug.scans.files import staged
from monai_medaug.transforms.denoise.base import NoiseRemoval

PAGE_NAME = "index.html"
_DENOISING = "Denoising"
_SECTIONS = {
    "CT": ("ct", ("CT", "HU")),
    "MRI": ("mri", ("MRI",)),
    "X-ray": ("xray", ("XRay",)),
    _DENOISING: ("mri", ("Denoise",)),
    "Geometry, resolution and what else fits any modality": ("ct", ()),
}
"""Title: the image, and what names of its transforms contain; the last takes the others."""
_ARGUMENTS: dict[str, tuple[dict[str, Any], ...]] = {
    "HUWindow": ({"preset": "lung"}, {"preset": "soft_tissue"}, {"preset": "bone"}),
    "RandAffineElastic": ({"elastic_mm": (0, 4), "elastic_sigma": 20, "elastic_unit": "mm"},),
    "RandThickSlice": ({"axis": 1},),
    "RandXRayScatter": ({"compensate": True},),
}
"""Where the defaults show little: one set for three magnitudes of a draw, or three settings."""
_REMARKS = {
    "RandAffineElastic": "The elastic part is that of the standard preset: organs move, bones do not wobble.",
    "RandThickSlice": "The thick axis runs down the picture, as in a slice seen from the side.",
}
_MAGNITUDES = {"a third of the draw": 1 / 3, "two thirds": 2 / 3, "the draw in full": 1.0}
_DRAWS, _FINALISTS = 200, 8
_UNIT_ENDINGS = ("_degrees", "_mm", "_hu", "_fraction")


def gallery_operations() -> dict[str, type[Operation]]:
    """The public array classes that take a slice and can be constructed as they are, or as the gallery knows.

    Example:
        >>> "RandCTDose" in gallery_operations()
        True
    """
    found = {}
    for name in sorted(transforms.__all__):
        cls = getattr(transforms, name)
        if not (inspect.isclass(cls) and issubclass(cls, Operation) and cls.__name__ == name):
            continue
        if 2 not in getattr(cls, "spatial_dims", (2, 3)) or cls.example(2).is_complex():
            continue
        try:
            cls(**_ARGUMENTS.get(name, ({},))[0])
        except (TypeError, ValueError):  # needs what cannot be guessed, such as a network
            continue
        found[name] = cls
    return found


def gallery_section(name: str) -> str:
    """The section in which a transform stands, by the modality in its name.

    Example:
        >>> gallery_section("RandMRINoise"), gallery_section("HUWindow"), gallery_section("RandXRayScatter")
        ('MRI', 'CT', 'X-ray')
    """
    return next((s for s, (_, parts) in _SECTIONS.items() if any(p in name for p in parts)), [*_SECTIONS][-1])


def write_gallery(out: str | os.PathLike, names: Sequence[str] | None = None) -> list[Path]:
    """Draw what transforms do to real images: a page that holds everything, and each row as a PNG.

    Args:
        out: the folder, made where it is missing; everything is written or nothing.
        names: of the array classes; None for all.

    Returns:
        The files, the page first.

    Raises:
        ValueError: a name is none of them.
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [file.name for file in write_gallery(folder, ["RandHUContrast"])]
        ['index.html', 'RandHUContrast.png']
    """
    from tqdm import tqdm

    known = gallery_operations()
    unknown = sorted(set(names or ()) - known.keys())
    if unknown:
        raise ValueError(f"names must be of public array transforms, got {', '.join(unknown)}")
    chosen = {t: [n for n in known if gallery_section(n) == t and (names is None or n in names)] for t in _SECTIONS}
    images = {modality: gallery_image(modality) for modality in {m for m, _ in _SECTIONS.values()}}
    out, sections, written = Path(out), [], [PAGE_NAME]
    with staged(out) as folder, tqdm(total=sum(map(len, chosen.values())), desc="drawing", unit="transform") as bar:
        for title, members in chosen.items():
            modality = _SECTIONS[title][0]
            image, rows = images[modality], []
            if image is None and members:
                missing = f"{MISSING_TEXT[modality]} Left out: {', '.join(members)}."
                sections.append(GallerySection(title, "", missing, ()))
                bar.update(len(members))
            elif image is not None and members:
                for name in members:
                    rows.append(_gallery_row(known[name], image, images))
                    (folder / f"{name}.png").write_bytes(rows[-1].png)
                    written.append(f"{name}.png")
                    bar.update()
                said = _denoising_text(images) if title == _DENOISING else image.text
                sections.append(GallerySection(title, said, "", tuple(rows)))
        (folder / PAGE_NAME).write_text(gallery_page(sections), encoding="utf-8")
    return [out / name for name in written]


# ---- a row -------------------------------------------------------------------------------------------------------


def _gallery_row(cls: type[Operation], image: GalleryImage, images: Mapping[str, GalleryImage | None]) -> GalleryRow:
    settings: Sequence[dict[str, Any]] = _ARGUMENTS.get(cls.__name__, ({},))
    also = ""
    if issubclass(cls, NoiseRemoval):
        png, settings = draw_restoration(cls, noise_trials(cls.__name__), images)
    else:
        if issubclass(cls, RandomOperation):
            panels = _magnitude_panels(cls(**_certain(cls, settings[0])), image)
        else:
            panels = [_result_panel(setting_text(s), cls(**s), image.image) for s in settings]
        png, also = draw_row(cls, image, panels), _also_drawn(cls, settings[0], panels[-1])
    summary, source = _summary_and_source(cls)
    notes = (_REMARKS.get(cls.__name__, ""), f"Also drawn: {also}." if also else "", source)
    call = "\n".join(dict.fromkeys(_call_text(cls, s) for s in settings))
    return GalleryRow(cls.__name__, summary, png, call, tuple(n for n in notes if n))


def _denoising_text(images: Mapping[str, GalleryImage | None]) -> str:
    shown = [image.text for modality in ("mri", "ct") if (image := images[modality]) is not None]
    return " ".join([RESTORATION_TEXT, *shown])


def _certain(cls: type, arguments: dict[str, Any]) -> dict[str, Any]:
    return {**arguments, "prob": 1.0} if "prob" in inspect.signature(cls).parameters else arguments


def _magnitude_panels(operation: RandomOperation, image: GalleryImage) -> list[RowPanel]:
    """The strongest of many draws at three magnitudes; three draws where nothing can be eased."""
    seed = _strongest_seed(operation, image.sketch)
    if seed is None:
        return [_result_panel(f"draw {n + 1}", operation.set_random_state(n), image.image) for n in range(3)]
    panels = []
    for title, strength in _MAGNITUDES.items():
        operation.strength = strength
        panels.append(_result_panel(title, operation.set_random_state(seed), image.image))
    return panels


def _result_panel(title: str, operation: Operation, image: MetaTensor) -> RowPanel:
    result = operation(image)
    extra = result.applied_operations[-1]["extra_info"]
    return RowPanel(title, result, extra.get("params", {}), extra.get("figures", {}))


def _strongest_seed(operation: RandomOperation, image: MetaTensor) -> int | None:
    """The seed whose draw is farthest from doing nothing: a shortlist by the numbers, the last word by the image."""
    rest, distances = operation.identity, []
    for seed in range(_DRAWS):
        operation.set_random_state(seed).randomize()
        drawn = operation.drawn or {}
        distances.append([np.abs(np.subtract(drawn[k], rest[k])).mean() if k in drawn else 0.0 for k in rest])
    table = np.array(distances)
    if not table.any():
        return None
    score = (table / np.maximum(table.max(0), 1e-12)).sum(1)
    shortlist = np.argsort(-score, kind="stable")[:_FINALISTS]
    return int(max(shortlist, key=lambda s: _change_of(operation.set_random_state(int(s)), image)))


def _change_of(operation: Operation, image: MetaTensor) -> float:
    return float((operation(image) - image).abs().mean())


# ---- words -------------------------------------------------------------------------------------------------------


def _call_text(cls: type, arguments: dict[str, Any]) -> str:
    """The call as it was made, with the defaults that apply; those that stand for nothing are left out."""
    defaults = {n: p.default for n, p in inspect.signature(cls).parameters.items()}
    given = {n: v for n, v in {**defaults, **_certain(cls, arguments)}.items() if v is not None}
    return f"{cls.__name__}({', '.join(f'{n}={v!r}' for n, v in given.items())})"


def _summary_and_source(cls: type) -> tuple[str, str]:
    """The first line of the docstring, and where it says its source."""
    doc = inspect.getdoc(cls) or ""
    source = re.search(r"^Source:.*?(?=\n\n|\Z)", doc, re.M | re.S)
    return doc.split("\n")[0], " ".join(source[0].split()) if source else ""


def _also_drawn(cls: type[Operation], arguments: dict[str, Any], panel: RowPanel) -> str:
    """What was drawn besides the quantities of the captions, where a reader can make something of it."""
    defaults = {n: p.default for n, p in inspect.signature(cls).parameters.items()}
    fixed = {**defaults, **arguments}
    said = []
    for name, value in panel.params.items():
        readable = isinstance(value, (str, int)) or name.endswith(_UNIT_ENDINGS)
        if (
            readable
            and name not in cls.identity
            and "seed" not in name
            and name != "direction"
            and fixed.get(name) != value
        ):
            said.append(quantity_text(cls, name, value))
    return ", ".join(said) if issubclass(cls, RandomOperation) and cls.identity else ""

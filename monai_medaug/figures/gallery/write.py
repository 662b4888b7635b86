"""The gallery: what every transform does to a real image, as one page that needs nothing else."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.bundle.config_parser import ConfigParser
from monai.data.meta_tensor import MetaTensor

from monai_medaug import transforms
from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.operation import Operation, RandomOperation
from monai_medaug.core.phrases import UNITS
from monai_medaug.figures.gallery.enlarging import ENLARGING_TEXT, draw_enlarging
from monai_medaug.figures.gallery.images import MISSING_TEXT, GalleryImage, gallery_image
from monai_medaug.figures.gallery.moving import MOTION_TEXT, draw_motion
from monai_medaug.figures.gallery.page import GalleryRow, GallerySection, gallery_page
from monai_medaug.figures.gallery.restoration import RESTORATION_TEXT, draw_restoration, noise_trials
from monai_medaug.figures.gallery.rows import RowPanel, draw_row, quantity_text, setting_text
from monai_medaug.scans.files import staged
from monai_medaug.transforms.denoise.base import NoiseRemoval
from monai_medaug.transforms.mri.motion_correction import MRIMotionCorrection

PAGE_NAME = "index.html"
_DENOISING = "Denoising"
_ANY = "Geometry, resolution and what else fits any modality"
_SECTIONS = {"CT": "ct", "MRI": "mri", "X-ray": "xray", _DENOISING: "mri", _ANY: "ct"}
"""Title: the modality of the image."""
_MAGNITUDES = {"a third of the draw": 1 / 3, "two thirds": 2 / 3, "the draw in full": 1.0}
_SEED = 0


def gallery_operations() -> dict[str, type[Operation]]:
    """The public array classes that take a slice and can be constructed with the arguments of their gallery entry.

    Example:
        >>> "RandCTDose" in gallery_operations()
        True
    """
    found = {}
    for name in sorted(transforms.__all__):
        cls = getattr(transforms, name)
        if not (inspect.isclass(cls) and issubclass(cls, Operation) and cls.__name__ == name):
            continue
        if 2 not in cls.spatial_dims or cls.takes_batches:
            continue
        try:
            constructed(cls, cls.gallery.arguments[0])
        except (TypeError, ValueError):  # needs an argument without a default, such as a network
            continue
        found[name] = cls
    return found


def constructed(cls: type[Operation], arguments: Mapping[str, Any]) -> Operation:
    """An operation by arguments of its gallery entry, in which a network stands as in a bundle's config.

    Example:
        >>> constructed(transforms.Upscale, {"scale": 3}).scale
        3.0
    """
    parser = ConfigParser(dict(arguments))
    with torch.random.fork_rng(devices=[]):  # of the network's first weights, which nobody sees
        return cls(**{name: parser.get_parsed_content(name) for name in arguments})


def gallery_section(cls: type[Operation]) -> str:
    """The title of the section in which a transform stands: its modality, or that it denoises.

    Example:
        >>> gallery_section(transforms.RandMRINoise), gallery_section(transforms.MedianDenoise)
        ('MRI', 'Denoising')
    """
    if issubclass(cls, NoiseRemoval):
        return _DENOISING
    return next((title for title, modality in _SECTIONS.items() if modality == cls.modality), _ANY)


def write_gallery(out: str | os.PathLike, names: Sequence[str] | None = None) -> list[Path]:
    """Draw what transforms do to real images: one page with everything, and each row as a PNG.

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
    chosen = {
        t: [n for n, c in known.items() if gallery_section(c) == t and (names is None or n in names)] for t in _SECTIONS
    }
    images = {modality: gallery_image(modality) for modality in set(_SECTIONS.values())}
    out, sections, written = Path(out), [], [PAGE_NAME]
    with staged(out) as folder, tqdm(total=sum(map(len, chosen.values())), desc="drawing", unit="transform") as bar:
        for title, members in chosen.items():
            modality = _SECTIONS[title]
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
    settings: Sequence[Mapping[str, Any]] = cls.gallery.arguments
    also, also_said, spoiling = "", "", ""
    if cls.gallery.before is not None:
        image, spoiling = _spoiled(image, *cls.gallery.before)
    if issubclass(cls, NoiseRemoval):
        png, settings = draw_restoration(cls, noise_trials(cls), images)
    elif cls.gallery.reduced > 1:
        png = draw_enlarging(settings, [constructed(cls, s) for s in settings], image, cls.gallery.reduced)
        also_said = ENLARGING_TEXT
    elif issubclass(cls, MRIMotionCorrection):
        png = draw_motion(settings, [constructed(cls, s) for s in settings], image)
        also_said = MOTION_TEXT
    elif issubclass(cls, RandomOperation):
        operation = cls(**_certain(cls, settings[0]))
        png = draw_row(cls, image, _magnitude_panels(operation, image.image))
        also = _also_drawn(operation)
    else:
        png = draw_row(cls, image, [_result_panel(setting_text(s), constructed(cls, s), image.image) for s in settings])
    summary, source = _summary_and_source(cls)
    notes = (also_said, cls.gallery.remark, f"Also drawn: {also}." if also else "", source)
    call = "\n".join(dict.fromkeys([*filter(None, [spoiling]), *(_call_text(cls, s) for s in settings)]))
    return GalleryRow(cls.__name__, summary, png, call, tuple(n for n in notes if n))


def _spoiled(image: GalleryImage, name: str, arguments: Mapping[str, Any]) -> tuple[GalleryImage, str]:
    """The image after an operation of the seed 0, and its call."""
    cls: Any = REGISTRY[name]
    operation = cls(**_certain(cls, arguments)).set_random_state(_SEED)
    return replace(image, image=operation(image.image)), _call_text(cls, arguments)


def _denoising_text(images: Mapping[str, GalleryImage | None]) -> str:
    shown = [image.text for modality in ("mri", "ct") if (image := images[modality]) is not None]
    return " ".join([RESTORATION_TEXT, *shown])


def _certain(cls: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {**arguments, **({"prob": 1.0} if "prob" in inspect.signature(cls).parameters else {})}


def _magnitude_panels(operation: RandomOperation, image: MetaTensor) -> list[RowPanel]:
    """The draw of a fixed seed at three magnitudes; three draws where nothing can be eased."""
    if not operation.identity:
        return [_result_panel(f"draw {n + 1}", operation.set_random_state(n), image) for n in range(3)]
    panels = []
    for title, strength in _MAGNITUDES.items():
        operation.strength = strength
        panels.append(_result_panel(title, operation.set_random_state(_SEED), image))
    return panels


def _result_panel(title: str, operation: Operation, image: MetaTensor) -> RowPanel:
    result = operation(image)
    extra = result.applied_operations[-1]["extra_info"]
    grey_scale = getattr(operation, "out_range", None)
    return RowPanel(title, result, extra.get("params", {}), extra.get("figures", {}), grey_scale)


# ---- words -------------------------------------------------------------------------------------------------------


def _call_text(cls: type, arguments: Mapping[str, Any]) -> str:
    """The call as it was made, with the defaults that apply; None is left out."""
    defaults = {n: p.default for n, p in inspect.signature(cls).parameters.items()}
    given = {n: v for n, v in {**defaults, **_certain(cls, arguments)}.items() if v is not None}
    return f"{cls.__name__}({', '.join(f'{n}={_argument_text(v)}' for n, v in given.items())})"


def _argument_text(value: Any) -> str:
    """A value as code has it, a config as the call that it stands for."""
    if not isinstance(value, Mapping) or "_target_" not in value:
        return repr(value)
    name = value["_target_"].rpartition(".")[2]
    return f"{name}({', '.join(f'{n}={v!r}' for n, v in value.items() if n != '_target_')})"


def _summary_and_source(cls: type) -> tuple[str, str]:
    """The first line of the docstring, and its source."""
    doc = inspect.getdoc(cls) or ""
    source = re.search(r"^Source:.*?(?=\n\n|\Z)", doc, re.M | re.S)
    return doc.split("\n")[0], " ".join(source[0].split()) if source else ""


def _also_drawn(operation: RandomOperation) -> str:
    """What else was drawn than the captions say: words, and quantities with a phrase or a unit."""
    cls = type(operation)
    if not operation.identity:
        return ""
    said = [
        quantity_text(cls, name, value)
        for name, value in (operation.drawn or {}).items()
        if name not in operation.identity
        and (isinstance(value, str) or name in cls.phrases or name.rpartition("_")[2] in UNITS)
    ]
    return ", ".join(said)

"""Data sets whose scans stand in a JSON file: the Medical Segmentation Decathlon (MSD), and MONAI's datalists."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from monai_medaug.scans.dataset.case import ScanCase, stem_of
from monai_medaug.scans.error import ScanError


def read_dataset_json(file: Path) -> dict[str, Any]:
    """The content of a data set's JSON file.

    Raises:
        ScanError: it cannot be read, or is no JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ScanError(f"{file.name} cannot be read: {error.strerror or type(error).__name__}") from None
    except ValueError:
        raise ScanError(f"{file.name} cannot be read: it is no JSON") from None
    if not isinstance(content, dict):
        raise ScanError(f"{file.name} must hold a JSON object, got a {type(content).__name__}")
    return content


def listed_cases(content: dict[str, Any], folder: Path) -> list[ScanCase]:
    """A case for each item of each list: ``{"image": …, "label": …}``, or the path of an image alone.

    An image may be a list of files, one for each channel. One that is missing, where files with ``_0000`` before the
    ending are there, is these (nnU-Net's first version). A label that is no path, such as a class, is passed over.

    Args:
        content: of the JSON file.
        folder: that the paths are relative to.
    """
    cases = []
    for subset, items in content.items():
        if not isinstance(items, list):
            continue
        for item in items:
            image, label = (item.get("image"), item.get("label")) if isinstance(item, dict) else (item, None)
            names: list[Any] = image if isinstance(image, list) else [image]
            bare = isinstance(item, str)  # other lists of words, such as sources, are no lists of images
            if names and all(isinstance(name, str) and not (bare and stem_of(name) == name) for name in names):
                cases.append(_listed_case(folder, names, label if isinstance(label, str) else None, subset))
    return cases


def _listed_case(folder: Path, names: list[str], label: str | None, subset: str) -> ScanCase:
    keys = [_key_of(name, folder) for name in (*names, *([] if label is None else [label]))]
    if None in keys:
        problem = "a path that the list of the data set names lies outside its folder"
        return ScanCase(str(keys[0] or os.path.basename(names[0])), (), subset=subset, problem=problem)
    paths = [folder / str(key) for key in keys]
    images, labels = paths[: len(names)], paths[len(names) :]
    if len(images) == 1 and not images[0].exists():
        images = channels_beside(images[0]) or images
    return ScanCase(str(keys[0]), tuple(images), {"mask": labels[0]} if labels else {}, subset)


def _key_of(name: str, folder: Path) -> str | None:
    """A listed path within the folder, None if it leads out of it."""
    path = os.path.normpath(name)
    if os.path.isabs(path):
        path = os.path.relpath(path, os.path.abspath(folder))
    return None if path.split(os.sep)[0] == os.pardir or os.path.isabs(path) else Path(path).as_posix()


def channels_beside(image: Path) -> list[Path]:
    """The files of an image's channels: ``case_0000.nii.gz``, ``case_0001.nii.gz``, … for ``case.nii.gz``."""
    stem = stem_of(image.name)
    ending = image.name[len(stem) :]
    found: list[Path] = []
    while (path := image.with_name(f"{stem}_{len(found):04d}{ending}")).exists():
        found.append(path)
    return found

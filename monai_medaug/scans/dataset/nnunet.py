"""Data sets of nnU-Net (version 2): a file for each channel, with its number before the ending, and a label."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from monai_medaug.scans.dataset.case import ScanCase, is_litter
from monai_medaug.scans.dataset.listed import listed_cases
from monai_medaug.scans.error import ScanError

_PARTS = (("training", "imagesTr", "labelsTr"), ("test", "imagesTs", "labelsTs"))


def is_nnunet(content: dict[str, Any]) -> bool:
    """Whether the content of a ``dataset.json`` is that of an nnU-Net data set."""
    return isinstance(content.get("channel_names"), dict)


def nnunet_cases(content: dict[str, Any], folder: Path) -> list[ScanCase]:
    """A case for each image of training and test, with all its channels and its label, if there is one.

    Args:
        content: of ``dataset.json``; ``channel_names`` says how many channels there are, ``file_ending`` how names end
            (default: ``.nii.gz``), ``dataset`` names images and labels that lie elsewhere.
        folder: of the data set.

    Raises:
        ScanError: there is no image of such a name.
    """
    count, ending = len(content["channel_names"]), str(content.get("file_ending", ".nii.gz"))
    if isinstance(named := content.get("dataset"), dict):
        items = [{"image": item.get("images"), "label": item.get("label")} for item in named.values()]
        return listed_cases({"training": items}, folder)
    cases = []
    for subset, images, labels in _PARTS:
        for name, channels in sorted(_channels(folder / images, ending).items()):
            label = folder / labels / f"{name}{ending}"
            own = {"mask": label} if subset == "training" or label.exists() else {}
            files = tuple(channels[n] for n in sorted(channels))
            missing = [f"{n:04d}" for n in range(count) if n not in channels]
            problem = f"channel {', '.join(missing)} is missing" if missing else ""
            if not missing and len(channels) > count:
                problem = f"it has {len(channels)} channels, and channel_names {count}"
            cases.append(ScanCase(f"{images}/{name}", files, own, subset, problem))
    if not cases:
        raise ScanError(f"the nnU-Net data set holds no image: imagesTr has no file that ends in _0000{ending}")
    return cases


def _channels(folder: Path, ending: str) -> dict[str, dict[int, Path]]:
    """The files of each case by the number of the channel."""
    found: dict[str, dict[int, Path]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = re.fullmatch(rf"(.+)_(\d{{4}}){re.escape(ending)}", path.name)
        if match and not is_litter(path.name):
            found.setdefault(match[1], {})[int(match[2])] = path
    return found

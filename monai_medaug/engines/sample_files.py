"""Generated images as files: PNG, and a datalist that says that they are generated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_medaug.functional.generation.grid import image_grid
from monai_medaug.networks.generated import generate_samples, sample_labels
from monai_medaug.networks.weights import UNITS


def write_samples(
    generator: nn.Module, folder: str | Path, n: int = 16, seed: int = 0, labels: Any = None
) -> torch.Tensor:
    """Write images of a generator as 8-bit PNG files, with ``datalist.json`` (a MONAI datalist) and ``grid.png``.

    Black and white are the ends of the generator's units.

    Args:
        generator: as for `generate_samples`.
        folder: made if absent; files of these names are replaced.
        n: images.
        seed: of the images.
        labels: as for `generate_samples`.

    Returns:
        The images (n, C, *spatial), in the generator's units.

    Raises:
        ValueError: as `generate_samples`.

    Example:
        >>> import tempfile
        >>> from monai_medaug.networks import DCGANGenerator
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     images = write_samples(DCGANGenerator(image_size=32, features=16), folder, n=2)
        ...     sorted(f.name for f in Path(folder).iterdir())
        ['datalist.json', 'grid.png', 'image_1.png', 'image_2.png']
    """
    images, ids = generate_samples(generator, n, seed, labels), sample_labels(generator, n, labels)
    ends = getattr(generator, UNITS, (-1.0, 1.0))
    target, digits = Path(folder), len(str(n))
    target.mkdir(parents=True, exist_ok=True)
    listed: list[dict[str, Any]] = []
    for place, image in enumerate(images):
        name = f"image_{place + 1:0{digits}d}.png"
        image_grid(image[None], ends, gap=0).save(target / name, "PNG")
        listed.append({"image": name} if ids is None else {"image": name, "label": int(ids[place])})
    image_grid(images, ends).save(target / "grid.png", "PNG")
    text = json.dumps({"description": "generated images", "seed": seed, "training": listed}, indent=1)
    (target / "datalist.json").write_text(text + "\n", encoding="utf-8")
    return images

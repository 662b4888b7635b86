"""The steps of a preset or policy for its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai_medaug.functional.geometry.outside import BACKGROUNDS
from monai_medaug.transforms.mirror import RandMirrord
from monai_medaug.transforms.safety.preserving import PreservingCompose
from monai_medaug.transforms.spatial import RandAffineElasticd


@dataclass(frozen=True)
class KeyedSteps:
    """Makes the steps of a preset for its keys: geometry for all of them, other steps for the images.

    Attributes:
        images: keys.
        masks: keys of label maps.
        lesion: key of a lesion mask, or None.
        padding_mode: what the geometry fills in from outside, in images and masks alike.
        ignore: value of the masks there instead; None for none.
    """

    images: tuple
    masks: tuple = ()
    lesion: Any = None
    padding_mode: str | float = "border"
    ignore: float | None = None

    def __post_init__(self) -> None:
        if both := [key for key in self.images if key in (*self.masks, self.lesion)]:
            raise ValueError(f"keys must be images alone, got {both[0]!r}, which is a mask: masks move along anyway")

    @property
    def moving(self) -> tuple:
        """All keys, images first."""
        lesions = () if self.lesion is None or self.lesion in self.masks else (self.lesion,)
        return (*self.images, *self.masks, *lesions)

    @property
    def settings(self) -> dict[str, Any]:
        """For the record, where they are not the defaults."""
        padding = {} if self.padding_mode == "border" else {"padding_mode": self.padding_mode}
        return padding | ({} if self.ignore is None else {"ignore": self.ignore})

    def made(self, step: type, prob: float | None, arguments: Mapping[str, Any], allow_missing_keys: bool) -> Any:
        """One step, a dictionary transform; with ``prob`` None without that argument."""
        given = {"allow_missing_keys": allow_missing_keys, **arguments, **({} if prob is None else {"prob": prob})}
        if step not in (RandMirrord, RandAffineElasticd):
            return step(self.images, **given)
        images, flat = len(self.images), len(self.moving) - len(self.images)
        own: dict[str, Any] = {"mode": ["bilinear"] * images + ["nearest"] * flat}
        if step is RandMirrord:
            return step(self.moving, **{**own, **given})
        repeated = ("border", "reflection", *BACKGROUNDS)  # the images' background decides for masks too
        outside = self.padding_mode if self.padding_mode in repeated else 0.0
        own |= {
            "padding_mode": [self.padding_mode] * images + [outside if self.ignore is None else self.ignore] * flat,
            "rotate_axis": "automatic",
        }
        return step(self.moving, **{**own, **given})

    def guarded(self, steps: Sequence[Any]) -> list[Any]:
        """The steps, in a `PreservingCompose` if there is a label or lesion to preserve."""
        if not self.masks and self.lesion is None:
            return list(steps)
        return [PreservingCompose(steps, self.masks or None, self.lesion, max_volume_change=0.2)]

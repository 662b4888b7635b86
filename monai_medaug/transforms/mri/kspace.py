"""MR artefacts of lines of k-space that differ from the others: ghosts and spikes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.core.arguments import number, span, whole_span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.mri.kspace import ghost_weights, spiked, spiked_slices, weight_lines
from monai_medaug.functional.mri.signal import foreground_mean
from monai_medaug.transforms.mri.magnitude import MagnitudeOperation
from monai_medaug.transforms.mri.phase_axis import MULTISLICE, phase_axes, phase_axis_argument


class RandMRIGhosting(MagnitudeOperation):
    """Ghosts of pulsation or an unstable scanner: a periodic modulation of the phase-encoding lines.

    Every line of k-space whose distance from the centre is a multiple of ``ghosts``, except the centre, is scaled by
    1 - intensity. This subtracts ``ghosts`` copies of the image times intensity / ghosts, evenly spaced over the field
    of view and wrapped around; the magnitude is taken.

    Args:
        ghosts: range of the number of copies, at least 2 (the N/2 ghost).
        intensity: range of the modulation's depth, in [0, 1]. Below about 0.03 for each of the ghosts they are lost in
            the noise.
        centre_fraction: share of the lines, about the centre, without modulation; the centre line never has any.
        phase_axis: phase-encoding axis, 0 for the first spatial one; None draws one, within the slices if these lie at
            least twice as far apart as the voxels within them (2D multislice), and of at least 16 voxels if there is.
        prob: probability of applying it.
        keep_zeros: whether exact zeros stay; None keeps them where they are many and coherent, as the background of a
            skull-stripped or padded image, with a notice.

    Raises:
        ValueError: an argument is out of its range, the image lacks the axis, or is not finite.

    Source: M. L. Wood & R. M. Henkelman, MR image artifacts from periodic motion, Med. Phys. 1985.

    Example:
        >>> import torch
        >>> image = torch.zeros(1, 8, 4)
        >>> image[:, 2] = 1.0
        >>> ghost = RandMRIGhosting(2, 0.5, centre_fraction=0, phase_axis=0, prob=1.0, keep_zeros=False)
        >>> [round(v, 4) for v in ghost(image)[0, :, 0].tolist()]
        [0.0625, 0.0625, 0.8125, 0.0625, 0.0625, 0.0625, 0.1875, 0.0625]
    """

    gallery = GalleryEntry(({"ghosts": (2, 4), "intensity": (0.4, 0.5)},))
    phrases = {"intensity": "ghosts of intensity {:.2f}", "ghosts": "{} ghosts"}
    headline = ("intensity",)
    identity = {"intensity": 0.0}
    magnitudes = (Magnitude("ghosting", {"intensity": Reach(0, 0.4)}),)

    def __init__(
        self,
        ghosts: int | Sequence[int] = (2, 5),
        intensity: float | Sequence[float] = (0.2, 0.5),
        centre_fraction: float = 0.02,
        phase_axis: int | None = None,
        prob: float = 0.3,
        keep_zeros: bool | None = None,
    ) -> None:
        super().__init__(prob, keep_zeros)
        self.ghosts = whole_span("ghosts", ghosts, 2, 1000)
        self.intensity = span("intensity", intensity, 0, 1)
        self.centre_fraction = number("centre_fraction", centre_fraction, 0, 1)
        self.phase_axis = phase_axis_argument(phase_axis)

    def draw(self) -> Params:
        return {
            "ghosts": int(self.R.randint(self.ghosts[0], self.ghosts[1] + 1)),
            "intensity": self.R.uniform(*self.intensity),
            "any_axis": self.R.uniform(),
        }

    def settings(self) -> Params:
        return {"centre_fraction": self.centre_fraction, "phase_axis": self.phase_axis, **super().settings()}

    @classmethod
    def changed(cls, magnitude: torch.Tensor, call: Call) -> torch.Tensor:
        axes, kept = phase_axes(call), call.settings["centre_fraction"]
        weights = [
            ghost_weights(magnitude.shape[2 + a], p["ghosts"], p["intensity"], kept)
            for a, p in zip(axes, call.draws, strict=True)
        ]
        return weight_lines(magnitude, weights, axes)


RandMRIGhostingd = dictionary_twin(RandMRIGhosting)
RandMRIGhostingD = RandMRIGhostingDict = RandMRIGhostingd


class RandMRISpike(MagnitudeOperation):
    """Spikes in k-space from sparks and bad contacts: a herringbone pattern over the image.

    A raised point k adds a plane wave, ``y = |x + a m sum_j exp(i (2 pi k_j · r + phi_j))|`` with the mean m of the
    foreground (above a tenth of the 99th percentile), so that one range suits images of any scale. (The default of
    MONAI's `RandKSpaceSpikeNoise`, 2.5 times the mean log magnitude, swamps a 12 bit image and is invisible in one of
    0 to 1.) In a 2D multislice scan, whose slices lie at least twice as far apart as the voxels within them, each spike
    hits one slice, drawn among those with signal.

    Args:
        amplitude: range of a, the amplitude of each wave as a share of the foreground's mean; patterns become visible
            at about 0.02, and at 0.2 an image is hard to read.
        spikes: range of the number of points, 1 to 10.
        prob: probability of applying it.
        keep_zeros: whether exact zeros stay; None keeps them where they are many and coherent, as the background of a
            skull-stripped or padded image, with a notice.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: E. M. Bellon et al., MR artifacts: a review, Am. J. Roentgenol. 1986; J. Zhuo & R. P. Gullapalli, AAPM/RSNA
    physics tutorial for residents: MR artifacts, safety, and quality control, RadioGraphics 2006.

    Example:
        >>> import torch
        >>> image = torch.full((1, 32, 32), 100.0)
        >>> spiked = RandMRISpike(amplitude=0.1, spikes=1, prob=1.0).set_random_state(0)(image)
        >>> round(float(spiked.min())), round(float(spiked.max()))
        (90, 110)
    """

    phrases = {"amplitude": "spikes of {:.1%} of the signal"}
    identity = {"amplitude": 0.0}
    magnitudes = (Magnitude("spike", {"amplitude": Reach(0, 0.08)}),)

    def __init__(
        self,
        amplitude: float | Sequence[float] = (0.02, 0.1),
        spikes: int | Sequence[int] = (1, 3),
        prob: float = 0.2,
        keep_zeros: bool | None = None,
    ) -> None:
        super().__init__(prob, keep_zeros)
        self.amplitude = span("amplitude", amplitude, 0)
        self.spikes = whole_span("spikes", spikes, 1, 10)

    def draw(self) -> Params:
        count = int(self.R.randint(self.spikes[0], self.spikes[1] + 1))
        return {
            "amplitude": self.R.uniform(*self.amplitude),
            "frequencies": self.R.uniform(-0.5, 0.5, size=(count, 3)).tolist(),
            "phases": self.R.uniform(0, 2 * np.pi, size=count).tolist(),
            "slices": self.R.uniform(size=count).tolist(),
        }

    @classmethod
    def changed(cls, magnitude: torch.Tensor, call: Call) -> torch.Tensor:
        out = torch.empty_like(magnitude)
        for x, p, grid, level, target in zip(
            magnitude, call.draws, call.grids, foreground_mean(magnitude), out, strict=True
        ):
            wave = np.asarray(p["frequencies"])[:, : magnitude.ndim - 2], np.asarray(p["phases"])
            # records of the first version lack the slices
            axis = grid.slice_axis(MULTISLICE) if "slices" in p else None
            if axis is None:
                target.copy_(spiked(x, p["amplitude"], *wave, level))
            else:
                target.copy_(spiked_slices(x, p["amplitude"], *wave, level, axis, p["slices"]))
        return out


RandMRISpiked = dictionary_twin(RandMRISpike)
RandMRISpikeD = RandMRISpikeDict = RandMRISpiked

"""MR artefacts of lines of k-space that were not acquired: undersampling and Gibbs ringing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import choice, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.mri.kspace import central_lines, sampled_lines, weight_lines
from monai_medaug.functional.mri.support import line_supports
from monai_medaug.transforms.mri.magnitude import MagnitudeOperation
from monai_medaug.transforms.mri.phase_axis import phase_axes, phase_axis_argument

PATTERNS = ("variable_density", "partial_fourier")


class RandMRIUndersampling(MagnitudeOperation):
    """Undersampling of a faster scan: magnitude image with zeros in place of phase-encoding lines.

    Args:
        acceleration: range of the ratio of all lines to acquired lines, at least 1; 1 omits no line.
        centre_fraction: share of the lines, about the centre, that is always acquired.
        pattern: ``"variable_density"``: the other lines at random, their density proportional to the squared distance
            from the edge; ``"partial_fourier"``: lines are omitted from one end of k-space up to the central ones,
            which limits the acceleration to ``2 / (1 + centre_fraction)``.
        phase_axis: phase-encoding axis, 0 for the first spatial one; None draws one, within the slices if these lie at
            least twice as far apart as the voxels within them (2D multislice), and of at least 16 voxels if there is.
        prob: probability of applying it.
        keep_zeros: whether exact zeros stay; None keeps them where they are many and coherent, as the background of a
            skull-stripped or padded image, with a notice.

    Raises:
        ValueError: an argument is out of its range, the image lacks the axis, or is not finite.

    Source: M. Lustig et al., Sparse MRI, Magn. Reson. Med. 2007; acceleration and centre as in J. Zbontar et al.,
    fastMRI, 2018 (4 with 8 %); partial Fourier: D. A. Feinberg et al., Radiology 1986.

    Example:
        >>> import torch
        >>> image = torch.full((1, 64, 64), 0.01)
        >>> image[:, 16:48, 16:48] = 1.0
        >>> fast = RandMRIUndersampling(acceleration=2, prob=1.0).set_random_state(0)(image)
        >>> bool((fast - image).abs().mean() > 0.01)
        True
    """

    phrases = {"acceleration": "undersampled {:.1f} times"}
    identity = {"acceleration": 1.0}
    magnitudes = (Magnitude("undersampling", {"acceleration": Reach(1, 3)}),)

    def __init__(
        self,
        acceleration: float | Sequence[float] = (2, 4),
        centre_fraction: float = 0.08,
        pattern: str = "variable_density",
        phase_axis: int | None = None,
        prob: float = 0.3,
        keep_zeros: bool | None = None,
    ) -> None:
        super().__init__(prob, keep_zeros)
        self.acceleration = span("acceleration", acceleration, 1)
        self.centre_fraction = number("centre_fraction", centre_fraction, 0, 1)
        self.pattern = choice("pattern", pattern, PATTERNS)
        self.phase_axis = phase_axis_argument(phase_axis)

    def draw(self) -> Params:
        return {
            "acceleration": self.R.uniform(*self.acceleration),
            "any_axis": self.R.uniform(),
            "lines_seed": int(self.R.randint(2**31 - 1)),
        }

    def settings(self) -> Params:
        return {
            "centre_fraction": self.centre_fraction,
            "pattern": self.pattern,
            "phase_axis": self.phase_axis,
            **super().settings(),
        }

    @classmethod
    def changed(cls, magnitude: torch.Tensor, call: Call) -> torch.Tensor:
        axes, kept, pattern = phase_axes(call), call.settings["centre_fraction"], call.settings["pattern"]
        weights = [
            sampled_lines(magnitude.shape[2 + a], p["acceleration"], kept, pattern, p["lines_seed"])
            for a, p in zip(axes, call.draws, strict=True)
        ]
        return weight_lines(magnitude, weights, axes)


RandMRIUndersamplingd = dictionary_twin(RandMRIUndersampling)
RandMRIUndersamplingD = RandMRIUndersamplingDict = RandMRIUndersamplingd


class RandMRIGibbs(MagnitudeOperation):
    """Gibbs ringing of a smaller acquisition matrix, interpolated to the image's by zeros.

    The phase-encoding lines beyond a share of the greatest distance from the centre of k-space are missing, so that
    edges across them ring by up to 9 % of their height, with a period of ``2 / kept`` voxels; the magnitude is taken.
    Noise in the image loses the same lines, as in a scan that was interpolated so. An image that was itself
    interpolated or filtered holds no power beyond a share of that distance, its support, which is measured: the lines
    are counted within it.

    Args:
        kept: range of the share of the image's own lines that are acquired, in (0, 1]; 1 omits none.
        phase_axis: phase-encoding axis, 0 for the first spatial one; None draws one, within the slices if these lie at
            least twice as far apart as the voxels within them (2D multislice), and of at least 16 voxels if there is.
        prob: probability of applying it.
        keep_zeros: whether exact zeros stay; None keeps them where they are many and coherent, as the background of a
            skull-stripped or padded image, with a notice.

    Raises:
        ValueError: an argument is out of its range, the image lacks the axis, or is not finite.

    Source: L. F. Czervionke et al., Characteristic features of MR truncation artifacts, Am. J. Neuroradiol. 1988.
    Protocols acquire 60 to 90 % of the lines of the displayed matrix.

    Example:
        >>> import torch
        >>> image = torch.full((1, 64, 8), 10.0).index_fill(1, torch.arange(16, 48), 110.0)
        >>> ringing = RandMRIGibbs(kept=0.5, phase_axis=0, prob=1.0)(image)
        >>> round(float(ringing.max() - 110), 1)
        6.9
    """

    phrases = {"kept": "Gibbs ringing, {:.0%} of the lines"}
    identity = {"kept": 1.0}
    magnitudes = (Magnitude("gibbs", {"kept": Reach(1, 0.5)}),)
    example_arguments = {"kept": (0.15, 0.95)}

    def __init__(
        self,
        kept: float | Sequence[float] = (0.6, 0.9),
        phase_axis: int | None = None,
        prob: float = 0.3,
        keep_zeros: bool | None = None,
    ) -> None:
        super().__init__(prob, keep_zeros)
        self.kept = span("kept", kept, 0.01, 1)
        self.phase_axis = phase_axis_argument(phase_axis)

    def draw(self) -> Params:
        return {"kept": self.R.uniform(*self.kept), "any_axis": self.R.uniform()}

    def settings(self) -> Params:
        return {"phase_axis": self.phase_axis, "of_support": True, **super().settings()}

    @classmethod
    def changed(cls, magnitude: torch.Tensor, call: Call) -> torch.Tensor:
        axes = phase_axes(call)
        measured = call.settings.get("of_support", False)  # records of the first version lack it
        looked = {a for a, p in zip(axes, call.draws, strict=True) if measured and p["kept"] < 1}
        shares = {a: line_supports(magnitude, a) for a in looked}
        weights = [
            central_lines(magnitude.shape[2 + a], p["kept"] * (shares[a][i] if a in shares and p["kept"] < 1 else 1))
            for i, (a, p) in enumerate(zip(axes, call.draws, strict=True))
        ]
        return weight_lines(magnitude, weights, axes)

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """The common example with more lines, so that few draws round to the same ones, and power in the last."""
        image = super().example(spatial_dims).repeat_interleave(2, 1).repeat_interleave(2, 2)
        chequered = sum(torch.meshgrid(*[torch.arange(n) for n in image.shape[1:]], indexing="ij")) % 2
        return image + 4 * chequered


RandMRIGibbsd = dictionary_twin(RandMRIGibbs)
RandMRIGibbsD = RandMRIGibbsDict = RandMRIGibbsd

"""How strong an operation may be: the magnitude tables that learned and search-free policies draw from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Span = tuple[float, float]

_LAWS: dict[str, Callable[[float, float, float], Span]] = {
    "linear": lambda rest, most, m: (rest, rest + m * (most - rest)),
    "signed": lambda rest, most, m: (rest - m * (most - rest), rest + m * (most - rest)),
    "ratio": lambda rest, most, m: (rest * (most / rest) ** -m, rest * (most / rest) ** m),
    "inverse": lambda rest, most, m: (most / m, rest / m),
    "inverse_square": lambda rest, most, m: (most / m**2, rest / m**2),
}


@dataclass(frozen=True)
class Reach:
    """How far an argument goes at a magnitude m from 0, which does nothing, to 1, the greatest.

    The argument is then a range, from which the operation draws; the magnitude is its far end.

    Attributes:
        rest: the value that does nothing; for the inverse laws the far end of the range at magnitude 1.
        most: the value at magnitude 1.
        law: of the range.

            - ``"linear"``: ``[rest, rest + m (most - rest)]``, for what has one direction, such as noise in HU;
            - ``"signed"``: the same to both sides, such as an angle;
            - ``"ratio"``: ``[most^-m, most^m]`` times the rest, for a factor;
            - ``"inverse"``: ``[most / m, rest / m]``, for a signal-to-noise ratio, whose inverse is the noise;
            - ``"inverse_square"``: ``[most / m², rest / m²]``, for photons, whose inverse root is the noise.

    Example:
        >>> Reach(0, 30, "signed").at(0.5), Reach(1, 4, "ratio").at(0.5), Reach(50, 5, "inverse").at(0.5)
        ((-15.0, 15.0), (0.5, 2.0), (10.0, 100.0))
    """

    rest: float
    most: float
    law: str = "linear"

    def at(self, magnitude: float) -> Span:
        """The range at a magnitude in (0, 1], in ascending order."""
        low, high = _LAWS[self.law](self.rest, self.most, magnitude)
        return float(min(low, high)), float(max(low, high))


@dataclass(frozen=True)
class Magnitude:
    """One thing that an operation does, with its strength as a single number from 0 to 1.

    A class declares its own in `OperationContract.magnitudes`; policies, searches and baselines find them there.

    Attributes:
        name: in policies, such as ``"rotate"``; each stands once in the package.
        reach: the arguments that grow with the magnitude.
        fixed: further arguments, among them those that switch off what else the operation does.
        unit: of the first argument, for people: ``"°"``, ``"HU"``.
        spatial_dims: of the images that it is for.

    Example:
        >>> noise = Magnitude("ct_noise", {"noise_hu": Reach(0, 25)}, unit="HU")
        >>> noise.arguments(0.4), noise.text(0.4)
        ({'noise_hu': (0.0, 10.0)}, 'noise_hu 0 to 10 HU')
    """

    name: str
    reach: Mapping[str, Reach]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    unit: str = ""
    spatial_dims: tuple[int, ...] = (2, 3)

    def arguments(self, magnitude: float) -> dict[str, Any]:
        """Constructor arguments of the operation at a magnitude in (0, 1]."""
        return {**self.fixed, **{name: reach.at(magnitude) for name, reach in self.reach.items()}}

    def text(self, magnitude: float) -> str:
        """What a magnitude means, in the units of the first argument."""
        name, reach = next(iter(self.reach.items()))
        low, high = reach.at(magnitude)
        unit = self.unit if self.unit in ("", "°") else f" {self.unit}"
        return f"{name} {low:.3g} to {high:.3g}{unit}"

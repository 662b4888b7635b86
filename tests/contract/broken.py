"""Operations that break the contract, one each, to see the checks notice. `Sound` is the same without a fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from monai_medaug.core.contract import Call
from monai_medaug.core.operation import Operation, RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.noise.white import white_noise
from monai_medaug.transforms.spatial import RandAffineElastic


class Sound(RandomOperation):
    """A gain and white noise: keeps the contract."""

    identity = {"factor": 1.0, "sigma": 0.0}

    def __init__(self, sigma: float = 5.0, prob: float = 0.5) -> None:
        super().__init__(prob)
        self.sigma = float(sigma)

    def draw(self) -> dict[str, Any]:
        return {"factor": self.R.uniform(0.9, 1.1), "sigma": self.sigma, "seed": int(self.R.randint(2**31 - 1))}

    @classmethod
    def seeds(cls, call: Call) -> list[int]:
        return call.seeds()

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        noise = white_noise(image.shape[1:], cls.seeds(call), image.device).to(image)
        return image * call.column("factor") + call.column("sigma") * noise


class SoundFixed(Operation):
    """Adds one: keeps the contract."""

    def draw(self) -> dict[str, Any]:
        return {"offset": 1.0}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return image + call.column("offset")


class WritesIntoInput(Sound):
    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return image.mul_(call.column("factor"))


class WritesIntoTrace(Sound):
    def __call__(self, img: Any) -> Any:
        if hasattr(img, "applied_operations"):
            img.applied_operations.append({"class": "WritesIntoTrace", "extra_info": {}})
        return super().__call__(img)


class WritesIntoMeta(Sound):
    def __call__(self, img: Any) -> Any:
        if hasattr(img, "meta"):
            img.meta["nested"]["values"].append(3)
        return super().__call__(img)


class IgnoresSeed(Sound):
    def draw(self) -> dict[str, Any]:
        return super().draw() | {"factor": float(np.random.uniform(0.9, 1.1))}


class UsesGlobalState(Sound):
    def __call__(self, img: Any) -> Any:
        torch.rand(1)
        return super().__call__(img)


class ForgetsSeed(Sound):
    def draw(self) -> dict[str, Any]:
        return {"factor": 1.05, "sigma": self.sigma, "seed": 7}


class SharesState(Sound):
    shared = np.random.RandomState(0)

    def __init__(self, sigma: float = 5.0, prob: float = 0.5) -> None:
        super().__init__(sigma, prob)
        self.R = self.shared


class DrawsByDecision(Sound):
    def randomize(self, data: Any = None) -> None:
        chance = self.R.rand()
        self._do_transform = chance < self.prob
        self.drawn = {**self.draw(), "factor": 0.9 + 0.2 * chance} if self._do_transform else None


class ArrayInTrace(Sound):
    def draw(self) -> dict[str, Any]:
        return super().draw() | {"weights": np.ones(3)}


class NumpyScalarInTrace(Sound):
    def draw(self) -> dict[str, Any]:
        return super().draw() | {"factor": np.float64(self.R.uniform(0.9, 1.1))}


class NoneInTrace(Sound):
    def draw(self) -> dict[str, Any]:
        return super().draw() | {"preset": None}


class ModeInTrace(Sound):
    def draw(self) -> dict[str, Any]:
        return super().draw() | {"mode": "bilinear"}


class SameNoiseForAllKeys(Sound):
    @classmethod
    def seeds(cls, call: Call) -> list[int]:
        return call.drawn("seed")


class OneDrawForTheBatch(Sound):
    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return super().apply(image, replace(call, draws=[call.draws[0]] * len(call.draws)))


class SpreadsNaN(Sound):
    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        return None


class ScalesIntegers(Sound):
    def __call__(self, img: Any) -> Any:
        scale = 1 if not isinstance(img, torch.Tensor) or img.is_floating_point() else 1 / 255
        return super().__call__(img) * scale


class ReturnsFloat32(Sound):
    def __call__(self, img: Any) -> Any:
        out = super().__call__(img)
        return out.float() if isinstance(out, torch.Tensor) else out.astype(np.float32)


class ChangesSkipped(Sound):
    def __call__(self, img: Any) -> Any:
        return super().__call__(img) + 1


class HoldsLambda(Sound):
    def __init__(self, sigma: float = 5.0, prob: float = 0.5) -> None:
        super().__init__(sigma, prob)
        self.function = lambda x: x


class NewUidInCopies(Sound):
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state | {"_uid": str(id(self))}


class KeepsState(SoundFixed):
    calls = 0

    def draw(self) -> dict[str, Any]:
        self.calls += 1
        return {"offset": float(self.calls)}


class BlendsMasks(RandAffineElastic):
    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        out = super().apply(image, call)
        return ((out.double() + out.double().roll(3, -1)) / 2).to(out.dtype)


class ChangesMaskDtype(RandAffineElastic):
    def __call__(self, img: Any) -> Any:
        out = super().__call__(img)
        return out.float() if isinstance(out, torch.Tensor) else out.astype(np.float32)


class InvertsNothing(RandAffineElastic):
    @classmethod
    def plan(cls, call: Call) -> Any:
        return super().plan(replace(call, inverse=False))


class MovesEachKeyAlone(RandAffineElastic):
    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return super().apply(image, call).roll(call.index, -1)


for _cls in [c for c in list(vars().values()) if isinstance(c, type) and c.__module__ == __name__]:
    globals()[f"{_cls.__name__}d"] = dictionary_twin(_cls)

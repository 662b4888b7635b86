"""Settings of the presets for acquisitions of their own: screening CT and skull-stripped MR."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.transforms import augmentation_report, ct_augmentation, mri_augmentation


def chest() -> torch.Tensor:
    at = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (64, 64, 6)], indexing="ij")
    body, lung = at[0] ** 2 + at[1] ** 2 < 0.7, (at[0].abs() - 0.4) ** 2 + at[1] ** 2 < 0.07
    return torch.where(lung, -850.0, torch.where(body, 40.0, -1000.0))[None]


@pytest.mark.parametrize(("strength", "hu"), [("light", (10, 20)), ("standard", (15, 30)), ("strong", (20, 40))])
def test_screening_has_the_noise_of_a_fifth_of_the_dose(strength, hu):
    preset = ct_augmentation("image", strength=strength, prob=1.0, low_dose_screening=True)
    drawn, names = [], set()
    for seed in range(12):
        report = augmentation_report(preset.set_random_state(seed)({"image": MetaTensor(chest())}))
        applied = [s for s in report["steps"] if s["applied"]]
        names |= {s["name"] for s in applied}
        drawn += [s["params"]["noise_hu"] for s in applied if s["name"] == "RandCTDosed"]
    assert len(drawn) == 12
    assert hu[0] <= min(drawn) < max(drawn) <= hu[1]
    assert names <= {"RandAffineElasticd", "RandHUContrastd", "RandCTMotiond", "RandCTRingd", "RandCTDosed"}
    assert report["settings"]["low_dose_screening"] is True


def test_a_skull_stripped_brain_keeps_its_background_in_silence(recwarn):
    brain = torch.zeros(1, 48, 48, 24)
    brain[:, 10:38, 12:36, 4:20] = 300 + 40 * torch.rand(28, 24, 16, generator=torch.Generator().manual_seed(0))
    preset = mri_augmentation("image", strength="strong", prob=1.0, skull_stripped=True)
    for seed in range(6):
        out = preset.set_random_state(seed)({"image": MetaTensor(brain)})
        steps = augmentation_report(out)["steps"]
        moved = next(s for s in steps if s["name"] == "RandAffineElasticd")
        assert moved["params"]["elastic_mm"] <= 2
        assert float((out["image"] == 0).float().mean()) > 0.4
    assert not [w for w in recwarn if "zero" in str(w.message).lower() or "skull" in str(w.message).lower()]
    assert np.isfinite(out["image"].numpy()).all()


@pytest.mark.parametrize(
    ("make", "name"), [(ct_augmentation, "low_dose_screening"), (mri_augmentation, "skull_stripped")]
)
def test_settings_are_flags_of_our_strengths(make, name):
    with pytest.raises(ValueError, match=f"{name} must be False with strength 'source'"):
        make(strength="source", **{name: True})
    with pytest.raises(ValueError, match=f"{name} must be True or False"):
        make(**{name: 1})

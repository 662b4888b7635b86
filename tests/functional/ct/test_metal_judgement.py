"""What tells strong artefacts from mild ones, the share of a change, and the rim beside metal."""

import torch

from monai_medaug.functional.ct.metal_judgement import artefact_strength, beside_metal, share_to_make

SPACING = (1.0, 1.0)
NONE = torch.zeros(1, 1, 64, 64, dtype=torch.bool)


def tissue(value=40.0):
    return torch.full((1, 1, 64, 64), value)


def test_black_bands_in_tissue_are_strong_and_lost_bone_is_not():
    black, bone = tissue(), tissue()
    black[..., 20:26, :] = -700.0
    bone[..., 20:40, 20:40] = 1500.0
    given = torch.cat([black, bone, tissue(-850.0)])
    found = artefact_strength(given, tissue().expand(3, -1, -1, -1), NONE.expand(3, -1, -1, -1), SPACING)
    assert found.tolist()[:2] == [1.0, 0.0]
    assert artefact_strength(tissue(), black, NONE, SPACING) == 0
    hidden = NONE.clone()
    hidden[..., 15:31, :] = True
    assert artefact_strength(black, tissue(), hidden, SPACING) == 0


def test_the_share_is_that_of_least_squares():
    streaks = 60 * torch.sin(2 * torch.pi * torch.arange(64.0) / 8).expand(1, 1, 64, 64)
    for made in (0.5, 1.0, 2.0):  # of the streaks that the change removes
        share = share_to_make(tissue(20.0) + streaks, tissue(20.0) + (1 - made) * streaks, NONE, SPACING)
        assert (share[..., 20:44, 20:44] - min(1.0, 1 / made)).abs().max() < 0.02


def test_a_change_in_bone_that_helps_nowhere_is_held_back():
    given = tissue(20.0) + 3 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    given[..., 20:44, 20:44] = 1000.0
    new = given.clone()
    new[..., 20:44, 20:44] -= 200.0
    assert share_to_make(given, new, NONE, SPACING)[..., 28:36, 28:36].max() < 0.1


def test_bone_reaches_up_to_the_metal_and_its_blur_does_not_stay():
    for value in (40.0, 900.0):
        given, rim = tissue(value), NONE.clone()
        rim[..., 28:36, 28:36] = True
        given[..., 29:35, 29:35] = 2500.0
        new = torch.where(rim, -300.0, given + 50)
        out = beside_metal(new, given, rim, SPACING)
        assert torch.equal(out[~rim], new[~rim])
        inner = out[..., 29:35, 29:35]
        assert (out[..., 28, 28:36] - (value + 50)).abs().max() < 5
        assert inner[(inner - (value + 50)).abs() > 5].numel() <= 4  # what is too far from the outside keeps its value

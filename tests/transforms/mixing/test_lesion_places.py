"""Pasted lesions lie where a lesion can lie, keep their contrast, and show no seam."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from scipy.ndimage import binary_dilation, binary_fill_holes, gaussian_filter, label

from monai_medaug.transforms.mixing.mix import BatchCutMix, BatchCutMixd, BatchMix
from tests.scan_files import real_scan


def ball(shape, centre, radius) -> np.ndarray:
    at = np.indices(shape)
    return ((at - np.reshape(centre, (-1, *[1] * len(shape)))) ** 2).sum(0) <= radius**2


def head(level: float = 40.0, noise: float = 4.0, seed: int = 0) -> np.ndarray:
    """A CT of a brain within a skull in air, in HU."""
    shape = (64, 64, 16)
    rng, flat = np.random.default_rng(seed), np.indices((64, 64)) - 31.5
    radius = np.hypot(*flat)[..., None] * np.ones(16)
    values = np.select([radius < 23, radius < 26, radius < 29], [level, 1200.0, 0.0], -1000.0)
    return (gaussian_filter(values, 0.7) + gaussian_filter(rng.normal(size=shape), 0.6) * noise * 3).astype(np.float32)


def scan(name: str, crop: tuple = ()) -> np.ndarray:
    return np.asarray(nib.load(real_scan(name)).dataobj).astype(np.float32)[crop]


def pasted(images: np.ndarray, masks: np.ndarray, seed: int):
    """The first sample of a pair with the lesions of the second."""
    swapping = next(s for s in range(seed * 100, seed * 100 + 100) if np.random.RandomState(s).permutation(2)[0] == 1)
    mix = BatchCutMix(lesions="copy").set_random_state(swapping)
    out = mix(torch.from_numpy(images), masks=torch.from_numpy(masks))
    assert out.permutation[0] == 1
    return out.image[0].numpy(), out.mask[0, 0].numpy() != 0


def ring_of(lesion: np.ndarray) -> np.ndarray:
    return binary_dilation(lesion, iterations=5) & ~binary_dilation(lesion, iterations=3)


def contrast(image: np.ndarray, lesion: np.ndarray) -> float:
    return float(np.median(image[lesion]) - np.median(image[ring_of(lesion)]))


def pair(level: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    source, masks = head(seed=1), np.zeros((2, 1, 64, 64, 16), np.uint8)
    masks[1, 0] = ball((64, 64, 16), (30, 38, 8), 4)
    source += gaussian_filter(masks[1, 0].astype(np.float32), 0.5) * 30
    return np.stack([head(level, noise), source])[:, None], masks


@pytest.mark.parametrize(("level", "noise"), [(40, 4), (50, 4), (34, 12), (40, 1)])
def test_the_lesion_keeps_its_contrast_and_takes_level_and_noise_of_its_surroundings(level, noise):
    images, masks = pair(level, noise)
    before = contrast(images[1, 0], masks[1, 0] != 0)
    for seed in range(5):
        image, lesion = pasted(images, masks, seed)
        assert lesion.sum() == masks[1].sum()
        assert contrast(image[0], lesion) == pytest.approx(before, rel=0.1)
        core = ball((64, 64, 16), np.argwhere(lesion).mean(0), 2.5)
        own, given = (images[b, 0][26:36, 20:30].std() for b in (0, 1))
        assert 0.5 * own < image[0][core].std() < max(1.5 * own, 0.75 * given)


def test_no_seam():
    """Steps between neighbours along the blend are no greater than in the surroundings."""
    images, masks = pair(52, 3)
    steps, around = [], []
    for seed in range(10):
        image, lesion = pasted(images, masks, seed)
        step = np.abs(np.diff(image[0], axis=0))
        seam = binary_dilation(lesion, iterations=4) & ~binary_dilation(lesion, iterations=2)
        steps.append(step[(seam[1:] & seam[:-1])].mean())
        around.append(np.abs(np.diff(images[0], axis=1))[0][seam[1:] & seam[:-1]].mean())
    assert np.mean(steps) < 1.1 * np.mean(around)


def test_a_lesion_never_leaves_the_brain():
    """The partner's place lies on the skull, in the air, or in the brain; 3 mm of brain stay around it."""
    images, masks = pair(40, 4)
    brain = np.hypot(*(np.indices((64, 64)) - 31.5))[..., None] < 23 * np.ones(16)
    count = 0
    for seed, move in enumerate([(0, 0), (0, 14), (15, 0), (-20, -20), (25, 0)] * 8):
        images[0, 0] = np.roll(head(seed=seed), move, (0, 1))
        image, lesion = pasted(images, masks, seed)
        inside = np.roll(brain, move, (0, 1))
        assert inside[lesion].all()
        assert np.array_equal(image[0][~inside], images[0, 0][~inside])
        count += lesion.any()
    assert count > 30


def test_a_table_of_foam_is_no_lung():
    images = np.full((2, 1, 64, 64, 12), -1000.0, np.float32)
    images[:, :, 4:42, 4:60] = 40
    images[1, :, 8:38, 8:56] = images[:, :, 46:63, 20:42] = -860
    masks = np.zeros((2, 1, 64, 64, 12), np.uint8)
    masks[1, 0] = ball((64, 64, 12), (22, 30, 6), 1)
    images += gaussian_filter(np.random.default_rng(0).normal(size=images.shape), (0, 0, 0.6, 0.6, 0.6)) * 10
    images[1, 0][masks[1, 0] != 0] = 30
    for seed in range(6):
        assert not pasted(images, masks, seed)[1].any()
    images[0] = np.roll(images[1], 2, 2)
    assert all(np.argwhere(pasted(images, masks, seed)[1])[:, 0].max() < 42 for seed in range(4))


def test_a_body_on_its_table_ends_at_the_skin():
    """The table's skin touches it, so that no air lies between."""
    images = np.full((2, 1, 96, 96, 12), -1000.0, np.float32)
    images[:, :, 10:60, 14:82] = 40
    images[1, :, 16:54, 20:76] = -860
    images[0, :, 60:62, 10:86] = images[0, :, 80:82, 10:86] = 0  # a table, its skin and foam
    images[0, :, 62:80, 10:86] = -860
    masks = np.zeros((2, 1, 96, 96, 12), np.uint8)
    masks[1, 0] = ball((96, 96, 12), (34, 44, 6), 2)
    images += gaussian_filter(np.random.default_rng(0).normal(size=images.shape), (0, 0, 0.6, 0.6, 0.6)) * 10
    images[1, 0][masks[1, 0] != 0] = 30
    assert not any(pasted(images, masks, seed)[1].any() for seed in range(6))


@pytest.mark.parametrize("scale", [1, 2])
def test_masks_follow_exactly_on_any_grid(scale):
    images, masks = pair(40, 4)
    images, masks = (np.concatenate([a, a[::-1]]) for a in (images, masks))
    fine = masks.repeat(scale, 2).repeat(scale, 3).repeat(scale, 4)
    batch = list_data_collate(
        [
            {"i": MetaTensor(i), "m": MetaTensor(m), "f": MetaTensor(f)}
            for i, m, f in zip(images, masks, fine, strict=True)
        ]
    )
    mix = BatchCutMixd("i", mask_keys=["m", "f"], lesion_key="m", lesions="copy")
    moved = 0
    for seed in range(6):
        out = mix.set_random_state(seed)(batch)
        expected = out["m"].as_tensor()
        for axis in (2, 3, 4):
            expected = expected.repeat_interleave(scale, axis)
        assert torch.equal(out["f"].as_tensor(), expected)
        records = [r[-1]["extra_info"].get("params", {}) for r in out["i"].applied_operations]
        moved += sum(bool(np.any(p.get("shifts_voxel", [[0]]))) for p in records)
    assert moved


def test_several_contrasts_share_the_place_and_each_keeps_its_own_level():
    images, masks = pair(40, 4)
    noise = np.random.default_rng(0).normal(size=images.shape).astype(np.float32)
    second = images * -0.5 + 4 * noise + np.array([300, 280], np.float32).reshape(2, 1, 1, 1, 1)
    both = np.concatenate([images, second], 1)
    before = [contrast(both[1, c], masks[1, 0] != 0) for c in range(2)]
    image, lesion = pasted(both, masks, 3)
    for c in range(2):
        assert contrast(image[c], lesion) == pytest.approx(before[c], rel=0.15)


def test_two_dimensions_and_other_mixes():
    images, masks = pair(40, 4)
    mix = BatchMix(lesions="carve", cutmix_prob=0.5, num_mask_classes=2)
    outs = []
    for seed in range(30):
        flat = (torch.from_numpy(a[..., 8]) for a in (images, masks))
        out = mix.set_random_state(seed)(next(flat), masks=next(flat))
        assert torch.allclose(out.mask.sum(1), torch.ones(()))
        outs.append(float(out.mask[0, 1].sum()) > 0 and set(out.mask[0].unique().tolist()) == {0, 1})
    assert sum(outs) > 2


def lungs(volume: np.ndarray) -> np.ndarray:
    """What lies within the body's outline, slice by slice."""
    body = gaussian_filter(volume, 1) > -400
    numbers, _ = label(body)
    body = numbers == np.argmax(np.bincount(numbers[numbers > 0]))
    return np.stack([binary_fill_holes(s) for s in np.moveaxis(body, 2, 0)], 2)


@pytest.mark.parametrize("name", ["lidc_0001_ct.nii.gz", "lidc_0002_ct.nii.gz", "lungdx_A0001_ct_kernelL.nii.gz"])
def test_real_nodules_stay_in_the_chest(name):
    """Two chests, and shoulders, where a nodule of the lung has no place."""
    stored = np.load(real_scan("lidc_nodules_open.npz"))
    at, bits = stored["offset"], np.unpackbits(stored["mask"], count=stored["offset"][-1])
    volume = scan(name)[::2, ::2]
    inside, pastes = lungs(volume), 0
    few = volume[..., :8]
    for seed, i in enumerate(range(3, 603, 60)):
        box = tuple(stored["shape"][i])
        images, masks = np.stack([few, few * 0 - 850])[:, None], np.zeros((2, 1, *few.shape), np.uint8)
        where = (1, 0, *(slice(20, 20 + n) for n in box[:2]), slice(0, min(8, box[2])))
        images[where] = (8.0 * stored["vox"][at[i] : at[i + 1]] - 1024).reshape(box)[..., :8]
        masks[where] = bits[at[i] : at[i + 1]].reshape(box)[..., :8]
        image, lesion = pasted(images, masks, seed)
        assert inside[..., :8][lesion].all()
        pastes += lesion.any()
        if lesion.sum() > 60:
            mask = masks[1, 0] != 0
            assert np.median(image[0][lesion]) > np.median(image[0][ring_of(lesion)])
            assert lesion.sum() == mask.sum()
    assert pastes == 0 if "0002" in name else pastes >= 4

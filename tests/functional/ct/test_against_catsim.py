"""Beam hardening and metal against an independent simulator of CT: slices made with CatSim (gecatsim 1.6.9)."""

import inspect

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, binary_dilation, binary_erosion, gaussian_filter, label

from monai_medaug.functional.ct.acquisition import beam_hardening
from monai_medaug.functional.ct.metal import APERTURE, SCANNER_HU, metal_artefact
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.spectrum import METALS
from monai_medaug.functional.hounsfield import FLOOR_HU
from monai_medaug.transforms import RandCTMetal
from tests.scan_files import real_scan

DEFAULTS = {n: p.default for n, p in inspect.signature(RandCTMetal).parameters.items()}


def catsim(name: str) -> dict[str, np.ndarray]:
    with np.load(real_scan(f"catsim/{name}.npz")) as file:
        return {key: file[key].astype(float) for key in ("image", "truth", "metal_mask", "pixel_mm")}


def scanner(pixel: float) -> ParallelBeam:
    return ParallelBeam((512, 512), (pixel, pixel), 360, detector_spacing=max(pixel, 0.6))


def slope(of: np.ndarray, on: np.ndarray) -> float:
    of, on = of - of.mean(), on - on.mean()
    return float(of @ on / (on @ on))


@pytest.mark.parametrize(("tissue", "low", "high"), [("mixture", 0.8, 1.1), ("ramp", 0.4, 0.6)])
def test_a_head_hardens_the_beam_as_much_as_in_the_simulator(tissue, low, high):
    """In soft tissue, smoothed by 4 pixels; the model of old records hardens twice as much."""
    case = catsim("control_bone")
    pixel, truth = float(case["pixel_mm"]), case["truth"]
    head = np.asarray(nib.load(real_scan("ct_head_ge_512.nii.gz")).dataobj[..., 3], float).T
    step = pixel / 0.48828125
    # where the simulator's phantom has the head, in pixels
    offset = step * np.array([12.5 - 255.5, -1.25 - 255.5]) + 255.5
    source = affine_transform(head, [step] * 2, offset, order=1, cval=-1000).clip(-1000)
    soft = binary_erosion((source > -50) & (source < 120) & (truth > -150) & (truth < 200), iterations=4)
    assert np.corrcoef(source[source > -900], truth[source > -900])[0, 1] > 0.98

    def smooth(change):
        return (gaussian_filter(change * soft, 4) / np.maximum(gaussian_filter(soft * 1.0, 4), 1e-6))[soft]

    slices = torch.from_numpy(source).float()[None, None]
    ours = beam_hardening(slices, torch.ones(1, 1, 1, 1), scanner(pixel), "cosine", tissue)[0, 0].double().numpy()
    assert np.corrcoef(smooth(ours), smooth(truth - source))[0, 1] > 0.9
    assert low < slope(smooth(truth - source), smooth(ours)) < high


def simulated(case, parts, seed=0, scatter=DEFAULTS["scatter"], aperture=APERTURE) -> np.ndarray:
    """Ours at the defaults."""
    beam = scanner(float(case["pixel_mm"]))
    white = torch.randn(1, 1, beam.views, beam.width, generator=torch.Generator().manual_seed(seed))
    slices = torch.from_numpy(case["truth"]).float()[None, None]
    metal = torch.from_numpy(np.stack(list(parts.values())) * 1.0).float()[None]
    figures = (torch.tensor(float(x)) for x in (DEFAULTS["photons"], scatter))
    given = ([METALS[name] for name in parts], *figures, beam, "cosine")
    return metal_artefact(slices, metal, white, *given, aperture=aperture)[0, 0].numpy()


def near_metal(case) -> np.ndarray:
    metal = case["metal_mask"] > 0
    return binary_dilation(metal, iterations=25) & ~binary_dilation(metal, iterations=3)


@pytest.mark.parametrize(("name", "material"), [("spine_screws_ti", "titanium"), ("steel_plate_femur", "steel")])
def test_metal_streaks_as_in_the_simulator(name, material):
    """Within 25 pixels of the metal, at the defaults; ten times the floor hides the noise of starved rays."""
    case = catsim(name)
    near, truth, parts = near_metal(case), case["truth"], {material: case["metal_mask"] > 0}
    first, second = (simulated(case, parts, seed) for seed in (0, 1))
    theirs = (case["image"].clip(FLOOR_HU, SCANNER_HU) - truth)[near]
    assert np.corrcoef(theirs, (first - truth)[near])[0, 1] > 0.8
    assert 0.9 < slope(theirs, (first - truth)[near]) < 1.1
    assert (first >= np.minimum(truth, FLOOR_HU) - 1e-3).all()
    floor = 10 * DEFAULTS["scatter"]
    hidden = simulated(case, parts, 0, floor) - simulated(case, parts, 1, floor)
    assert (first - second)[near].std() > 1.2 * hidden[near].std()


def test_a_hip_of_cobalt_chromium_and_titanium_streaks_as_in_the_simulator():
    """The ball is of CoCrMo, the neck and the cup of titanium: all taken for CoCrMo, the slope would be 0.48."""
    case = catsim("hip_single_cocr")
    metal, near, truth = case["metal_mask"] > 0, near_metal(case), case["truth"]
    y, x = np.indices(metal.shape)
    inside = np.hypot(y - 244.5, x - 359.5) <= 19.7  # 31 mm across; the cup's arc lies outside
    theirs = (case["image"].clip(FLOOR_HU, SCANNER_HU) - truth)[near]
    ours = (simulated(case, {"cocr": metal & inside, "titanium": metal & ~inside}) - truth)[near]
    assert np.corrcoef(theirs, ours)[0, 1] > 0.9
    assert 0.75 < slope(theirs, ours) < 1.1
    taken_for_one = (simulated(case, {"cocr": metal}) - truth)[near]
    assert slope(theirs, taken_for_one) < 0.6


def test_the_aperture_brings_thin_clips_nearer_to_the_simulator():
    """Clips of one or two pixels, titanium and steel: RMSE beside them with an aperture and with a ray an element."""
    case = catsim("clips_several")
    pieces, _ = label(case["metal_mask"] > 0, np.ones((3, 3)))
    steel = np.isin(pieces, (4, 5))
    parts, near = {"steel": steel, "titanium": (pieces > 0) & ~steel}, near_metal(case)
    theirs = case["image"].clip(FLOOR_HU, SCANNER_HU)[near]
    wide, single = (simulated(case, parts, aperture=a)[near] - theirs for a in (APERTURE, (1.0,)))
    assert np.sqrt(np.mean(wide**2)) < 0.9 * np.sqrt(np.mean(single**2))

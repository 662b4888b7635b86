"""Metal inserts: streaks between them, nothing where there is none, and a mask that fits."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import binary_dilation

from monai_medaug.functional.ct.metal import metal_artefact
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.spectrum import METALS
from monai_medaug.transforms import (
    PreservingCompose,
    RandCTMetal,
    RandCTMetald,
    augmentation_report,
    inserted_metal,
    replay,
)

N = 96
Y, X = torch.meshgrid(torch.arange(N) - 47.5, torch.arange(N) - 47.5, indexing="ij")
WATER = torch.where(X**2 + Y**2 < 44**2, 0.0, -1000.0)
BEAM = ParallelBeam((N, N), (2.0, 2.0), views=240)


def figure(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), float(value))


def with_rods(name: str, places=((-20, 0), (20, 0)), photons=1e9, scatter=0.0, seed=0) -> torch.Tensor:
    metal = torch.zeros(1, 1, N, N)
    for x, y in places:
        metal[0, 0][(X - x) ** 2 + (Y - y) ** 2 < 4**2] = 1
    white = torch.randn(1, 1, BEAM.views, BEAM.width, generator=torch.Generator().manual_seed(seed))
    return metal_artefact(
        WATER[None, None], metal, white, [METALS[name]], figure(photons), figure(scatter), BEAM, "cosine"
    )[0, 0]


def test_no_metal_is_the_plain_reconstruction():
    assert torch.equal(with_rods("steel", places=()), WATER)


@pytest.mark.parametrize("name", sorted(METALS))
def test_a_dark_band_lies_between_two_rods_and_not_beside_one(name):
    both, single = with_rods(name), with_rods(name, places=((-20, 0),))
    between = (slice(46, 50), slice(44, 52))
    assert float(both[between].mean()) < -40
    assert float(both[between].mean()) < 3 * float(single[between].mean())
    assert float(both.max()) == 3071


def test_steel_streaks_more_than_titanium_and_fewer_photons_streak_more():
    inside = (X**2 + Y**2 < 40**2) & ((X.abs() - 20) ** 2 + Y**2 > 8**2)
    spread = {name: float(with_rods(name)[inside].std()) for name in METALS}
    assert spread["steel"] > 1.5 * spread["titanium"]
    starved = float(with_rods("steel", photons=1e5)[inside].std())
    assert starved > 1.1 * spread["steel"]
    assert float(with_rods("steel", scatter=0.05)[inside].std()) != pytest.approx(spread["steel"], rel=0.02)


def test_rays_that_miss_the_metal_are_untouched():
    """The change has line integrals only behind the rod, up to the ringing of the reconstruction."""
    change = with_rods("titanium", places=((0, 0),))
    values = (change - WATER) * 0.0192 / 1000
    sinogram = BEAM.project(values[None, None])[0, 0]
    detector = (torch.arange(BEAM.width) - (BEAM.width - 1) / 2) * BEAM.pitch
    missed, hit = sinogram[:, detector.abs() > 14], sinogram[:, detector.abs() < 6]
    assert float(missed.abs().mean()) < 0.03 * float(hit.abs().mean())


@pytest.mark.parametrize("shape", [(N, N), (N, N, 12)])
def test_the_mask_from_the_trace_is_where_the_metal_shines(shape):
    volume = WATER[None] if len(shape) == 2 else WATER[None, ..., None].expand(1, *shape).clone()
    image = MetaTensor(volume, affine=torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0])).double())
    insert = RandCTMetal("steel", radius_mm=8, rods=1, length_mm=20, prob=1.0, implant="rods")
    out = insert.set_random_state(1)(image)
    mask = inserted_metal(out).as_tensor()[0] > 0
    shining = out.as_tensor()[0] > 2000
    assert bool(shining[mask].all())
    assert not shining.numpy()[~binary_dilation(mask.numpy(), iterations=2)].any()  # dense metal blooms
    if len(shape) == 3:
        without = ~torch.from_numpy(binary_dilation(mask.flatten(0, 1).any(0).numpy()))
        assert 0 < without.sum() < shape[2]
        assert torch.equal(out.as_tensor()[0][..., without], volume[0][..., without])
    report = augmentation_report(out)
    assert torch.equal(replay(image, report).as_tensor(), out.as_tensor())


def test_it_shrinks_to_nothing_and_has_all_materials():
    data = {"image": MetaTensor(WATER[None])}
    insert = RandCTMetald("image", prob=1.0)
    insert.operation.strength = 0.0
    assert torch.equal(insert(data)["image"].as_tensor(), data["image"].as_tensor())
    insert.operation.strength = 1.0
    report = augmentation_report(insert(data)["image"])
    assert report["steps"][0]["figures"]["material"] in ("titanium", "steel", "cocr")
    assert isinstance(PreservingCompose([insert], None)(data)["image"], MetaTensor)


@pytest.mark.parametrize("name", sorted(METALS))
def test_nothing_falls_below_the_scanners_floor_but_what_lay_there(name):
    given = WATER.clone()
    given[3, 3] = -1200.0
    metal = torch.zeros(1, 1, N, N)
    metal[..., 44:52, 24:32] = metal[..., 44:52, 64:72] = 1
    white = torch.randn(1, 1, BEAM.views, BEAM.width, generator=torch.Generator().manual_seed(0))
    out = metal_artefact(given[None, None], metal, white, [METALS[name]], figure(1e6), figure(1e-5), BEAM, "cosine")[
        0, 0
    ]
    assert float(out.max()) == 3071
    assert float(out[given > -1100].min()) >= -1024
    assert float(out[3, 3]) >= -1200


def test_denser_metal_streaks_more():
    inside = (X**2 + Y**2 < 40**2) & ((X.abs() - 20) ** 2 + Y**2 > 8**2)
    spread = [float(with_rods(n, scatter=1e-5)[inside].std()) for n in ("titanium", "steel", "cocr", "amalgam", "gold")]
    assert spread == sorted(spread)


def test_old_records_replay_with_their_own_floor_bone_and_place():
    """Records made before metal was placed in bone: their figures, to the last digit shown."""
    volume = WATER[None, ..., None].repeat(1, 1, 1, 4)
    volume[:, 30:40, 30:40] = 700.0
    image = MetaTensor(volume, affine=torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0])).double())
    drawn = {
        "material": "steel",
        "radius_mm": [8.0, 8.0],
        "place": [0.0054138025988315075, 0.19647347717382735, 0.19814654446671903, -0.18720734476808187],
        "depth": [0.05146720330082988, 0.20724287813818676],
        "seed": 1893263840,
        "photons": 1e6,
        "scatter": 1e-4,
    }
    for name, params, expected in (
        ("RandCTMetal", drawn, (-2161.43, 622.26, 98.45, 0.0, 328.19)),
        ("RandCTBeamHardening", {"amount": 1.0}, (-1000.48, 704.44, -0.77, 0.36, 2.57)),
    ):
        step = {"name": name, "keys": {"image": {"key": 0}}, "applied": True, "params": params}
        out = replay({"image": image}, {"steps": [step]})["image"].as_tensor()
        found = [out.min(), out[0, 35, 35, 1], out[0, 48, 48, 1], out[0, 20, 60, 2], (out - volume).std()]
        np.testing.assert_allclose([float(f) for f in found], expected, atol=0.011)


def test_records_before_the_aperture_replay_with_a_ray_per_element():
    """Figures of the version that placed rods in bone, to the last digit; the second rod is thinner than a pixel."""
    volume = WATER[None, ..., None].repeat(1, 1, 1, 4)
    volume[:, 30:40, 30:40] = 700.0
    affine = torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0])).double()
    drawn = {
        "radius_mm": [4.0, 1.2],
        "length_mm": [40.0, 30.0],
        "share": [0.3, 0.6],
        "seed": 77,
        "photons": 1e6,
        "scatter": 1e-5,
        "tissue": "mixture",
        "floor_hu": -1024.0,
    }
    ends = {"ends_mm": [[60.0, 70.0, -4.0, 90.0, 80.0, 10.0], [100.0, 90.0, 2.0, 100.0, 110.0, 9.0]]}
    whole, crop = MetaTensor(volume, affine=affine), MetaTensor(volume[:, 20:84, 20:84].clone(), affine=affine)
    for image, material, expected in (
        (whole, "steel", (-1024.0, -29.96, 762.11, 66.07, 243.96)),
        (whole, "gold", (-1024.0, -169.08, 3071.0, 725.33, 520.33)),
        (crop, "steel", (-1024.0, 9.27, 553.08, 43.14, 395.04)),
    ):
        step = {
            "name": "RandCTMetal",
            "keys": {"image": {"key": 0}},
            "applied": True,
            "params": drawn | {"material": material},
            "figures": ends,
        }
        out = replay({"image": image}, {"steps": [step]})["image"]
        assert int(inserted_metal(out).sum()) == 99
        out = out.as_tensor()
        found = [out.min(), out[0, 10, 33, 1], out[0, 48, 48, 1], out[0, 30, 50, 2], (out - image.as_tensor()).std()]
        np.testing.assert_allclose([float(f) for f in found], expected, atol=0.011)


def test_a_crop_streaks_as_the_whole_slice_does():
    """The same rods in a round body and in a crop of it; without the body, the streaks differ four times as much."""
    x = 2.0 * (torch.arange(160) - 79.5)
    body = torch.where(torch.hypot(x[:, None], x) < 140, 40.0, -1000.0)[None, ..., None].repeat(1, 1, 1, 2)
    whole = MetaTensor(body, affine=torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0])).double())
    crop = MetaTensor(body[:, 48:112, 48:112].clone(), affine=whole.affine.clone())
    crop.affine[:2, 3] = 96.0
    insert = RandCTMetal("steel", rods=2, photons=1e9, scatter=1e-4, implant="rods", prob=1.0).set_random_state(3)
    step = dict(augmentation_report(insert(crop))["steps"][0])
    step["keys"] = {"image": {"key": 0}}
    metal = inserted_metal(insert(crop)).as_tensor() > 0
    # beyond the crop's border as well
    step["figures"] = step["figures"] | {"ends_mm": [[140.0, 140, -4, 160, 170, 8], [190.0, 150, -2, 260, 160, 6]]}

    def change(image, without=()):
        params = {k: v for k, v in step["params"].items() if k not in without}
        out = replay({"image": image}, {"steps": [step | {"params": params}]})["image"]
        return (out - image).as_tensor()

    of_whole = change(whole)[:, 48:112, 48:112]
    streaks = ~metal & (of_whole.abs() < 1500)
    errors = [float((change(crop, w) - of_whole)[streaks].square().mean().sqrt()) for w in ((), ("body_mm",))]
    assert errors[0] < 0.15 * float(of_whole[streaks].square().mean().sqrt())
    assert errors[1] > 4 * errors[0]


def test_metal_lies_in_bone_the_same_in_all_keys_and_in_a_replay():
    """Most of the field is lung; the second key has another orientation and other noise, and no bone of its own."""
    body = WATER.clone()
    body[X.abs() < 32] = torch.where(WATER[X.abs() < 32] > -500, -850.0, -1000.0)
    body[(X - 38) ** 2 + Y**2 < 5**2] = 800.0
    volume = body[None, ..., None].repeat(1, 1, 1, 6)
    first = MetaTensor(volume, affine=torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0])).double())
    turned = torch.diag(torch.tensor([-2.0, 2.0, 4.0, 1.0])).double()
    turned[0, 3] = 2.0 * (N - 1)
    second = MetaTensor(volume.flip(1).clamp_max(0), affine=turned)
    insert = RandCTMetald(["a", "b"], prob=1.0, rods=1, radius_mm=4)
    for seed in range(8):
        data = {"a": first, "b": second}
        out = insert.set_random_state(seed)(data)
        masks = [inserted_metal(out[k]).as_tensor()[0] for k in ("a", "b")]
        assert masks[0].any()
        assert torch.equal(masks[0], masks[1].flip(0))
        assert float((volume[0][masks[0] > 0] > -300).float().mean()) > 0.8
        again = replay(data, augmentation_report(out))
        assert all(torch.equal(again[k].as_tensor(), out[k].as_tensor()) for k in data)


def test_an_image_of_air_stays_as_it_is():
    image = torch.full((1, 40, 40), -1000.0)
    assert torch.equal(RandCTMetal(prob=1.0)(image), image)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="material"):
        RandCTMetal("brass")
    with pytest.raises(ValueError, match="rods"):
        RandCTMetal(rods=3)
    with pytest.raises(ValueError, match="implant"):
        RandCTMetal(implant="knee")
    with pytest.raises(ValueError, match="length_mm"):
        RandCTMetal(length_mm=-1)
    with pytest.raises(ValueError, match="record"):
        inserted_metal(MetaTensor(torch.zeros(1, 4, 4)))
    assert np.isfinite(RandCTMetal(prob=1.0)(np.zeros((1, 20, 20), np.float32))).all()

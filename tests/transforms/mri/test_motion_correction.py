import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.transforms import MRIMotionCorrection, MRIMotionCorrectiond, augmentation_report, replay
from tests.segmented_motion import magnitude_psnr, phantom, random_poses, scanned


def scan(segments=4, mm=3.0, degrees=0.0, seed=0, side=64, dims=2, maps=None):
    """A phantom and its scan with motion."""
    truth, lines = phantom(side, dims), np.array_split(np.arange(side), segments)
    poses = random_poses(segments, segments // 2, dims, mm, degrees, seed)
    return truth, torch.from_numpy(scanned(truth, lines, *poses, maps)), poses


@pytest.fixture(scope="module")
def moved_scan():
    return scan()


def test_undoes_translations_and_records_them(moved_scan):
    truth, image, (shifts, _) = moved_scan
    out = MRIMotionCorrection(4, rotate_degrees=0)(MetaTensor(image))
    assert out.dtype == torch.complex128
    before, after = (magnitude_psnr(x.numpy(), truth[None]) for x in (image, out))
    assert after > max(36, before + 8)
    figures = augmentation_report(out)["steps"][0]["figures"]
    assert figures["corrected"] is True
    assert figures["entropy_after"] < figures["entropy_before"]
    assert np.abs(np.array(figures["translations_mm"]) - shifts)[1:3].max() < 0.3  # the centre, that counts most


def test_undoes_rotations():
    truth, image, (_, turns) = scan(degrees=3.0)
    out = MRIMotionCorrection(4)(MetaTensor(image))
    before, after = (magnitude_psnr(x.numpy(), truth[None]) for x in (image, out))
    assert after > before + 5
    found = augmentation_report(out)["steps"][0]["figures"]["rotations_degrees"]
    assert np.abs(np.array(found) - turns)[1:3].max() < 1.0


def test_undoes_motion_in_3d():
    truth, image, _ = scan(segments=2, side=32, dims=3)
    out = MRIMotionCorrection(2, rotate_degrees=0)(image)
    before, after = (magnitude_psnr(x.numpy(), truth[None]) for x in (image, out))
    assert after > before + 5


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_scan_without_motion_comes_back_bit_for_bit(noise):
    random = np.random.default_rng(0)
    image = phantom(64) + noise * (random.normal(size=(64, 64)) + 1j * random.normal(size=(64, 64)))
    given = torch.from_numpy(image)[None]
    assert torch.equal(MRIMotionCorrection(4, rotate_degrees=3)(given), given)


def test_the_phase_axis_is_that_of_the_image(moved_scan):
    image = moved_scan[1]
    along, across = (MRIMotionCorrection(4, phase_axis=a, rotate_degrees=0) for a in (0, -1))
    assert torch.allclose(across(image.transpose(1, 2)), along(image).transpose(1, 2))


def test_kspace_in_kspace_out(moved_scan):
    image = moved_scan[1]

    def centred(transform, x):
        return torch.fft.fftshift(transform(torch.fft.ifftshift(x, dim=(1, 2))), dim=(1, 2))

    wanted = MRIMotionCorrection(4, rotate_degrees=0)(image)
    found = MRIMotionCorrection(4, rotate_degrees=0, kspace=True)(centred(torch.fft.fft2, image))
    assert torch.allclose(centred(torch.fft.ifft2, found), wanted, atol=1e-6)


def test_lines_given_one_by_one(moved_scan):
    image = moved_scan[1]
    lines = [s.tolist() for s in np.array_split(np.arange(64), 4)]
    wanted = MRIMotionCorrection(4, rotate_degrees=0)(image)
    assert torch.equal(MRIMotionCorrection(lines, rotate_degrees=0)(image), wanted)


def test_spacing_is_that_of_the_image(moved_scan):
    image = moved_scan[1]
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))
    out = MRIMotionCorrection(4, translate_mm=20, rotate_degrees=0)(MetaTensor(image, affine=affine))
    figures = augmentation_report(out)["steps"][0]["figures"]
    assert np.abs(np.array(figures["translations_mm"]) - 2 * moved_scan[2][0])[1:3].max() < 0.6


def test_coil_maps_explain_the_data():
    side = 48
    axes = np.meshgrid(*[np.linspace(-1, 1, side)] * 2, indexing="ij")
    places = [(-1, -1), (-1, 1), (1, -1), (1, 1), (0, 1.4)]
    maps = np.stack([np.exp(-((axes[0] - a) ** 2 + (axes[1] - b) ** 2) + 1j * a * axes[1]) for a, b in places])
    truth, image, _ = scan(degrees=3.0, side=side, maps=maps)
    wanted = maps * truth
    out = MRIMotionCorrectiond("image", 4, maps_key="maps")({"image": MetaTensor(image), "maps": maps})["image"]
    figures = augmentation_report(out)["steps"][0]["figures"]
    assert figures["unexplained_after"] < 0.5 * figures["unexplained_before"]
    assert magnitude_psnr(out.numpy(), wanted) > magnitude_psnr(image.numpy(), wanted) + 8


def test_coil_maps_leave_a_scan_without_motion():
    maps = np.stack([np.ones((32, 32)), np.linspace(0, 1, 32)[:, None].repeat(32, 1)]).astype(complex)
    image = torch.from_numpy(maps * phantom(32))
    assert torch.equal(MRIMotionCorrection(2, rotate_degrees=0)(image, maps=maps), image)


def test_replay(moved_scan):
    data = {"image": MetaTensor(moved_scan[1])}
    out = MRIMotionCorrectiond("image", 2, rotate_degrees=0)(data)
    again = replay(data, augmentation_report(out))
    assert torch.equal(again["image"].as_tensor(), out["image"].as_tensor())


def test_works_in_inference_mode_and_without_gradients(moved_scan):
    transform = MRIMotionCorrection(2, rotate_degrees=0)
    wanted = transform(moved_scan[1])
    with torch.inference_mode():
        assert torch.equal(transform(moved_scan[1] + 0), wanted)
    with torch.no_grad():
        assert torch.equal(transform(moved_scan[1]), wanted)


def test_a_small_image_is_searched_on_one_thread_which_an_error_does_not_leave_behind(monkeypatch):
    seen = []

    def fail(*_):
        seen.append(torch.get_num_threads())
        raise RuntimeError("stopped")

    monkeypatch.setattr("monai_medaug.transforms.mri.motion_correction.autofocus", fail)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="stopped"):
            MRIMotionCorrection(2)(torch.ones(1, 16, 16, dtype=torch.complex64))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_a_magnitude_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"img must be complex.*magnitude.*float32"):
        MRIMotionCorrection(4)(torch.ones(1, 16, 16))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"segments": 1}, "segments"),
        ({"segments": "four"}, "segments"),
        ({"segments": [[0, 1], [1, 2]]}, "segments.*each line in one"),
        ({"segments": [[0, 1], []]}, "segments"),
        ({"segments": [3, 4]}, "segments"),
        ({"segments": 4, "phase_axis": 3}, "phase_axis"),
        ({"segments": 4, "translate_mm": -1}, "translate_mm"),
        ({"segments": 4, "rotate_degrees": 90}, "rotate_degrees"),
        ({"segments": 4, "order": "random"}, "order"),
        ({"segments": 4, "kspace": "yes"}, "kspace"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        MRIMotionCorrection(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"segments": 17}, "segments must be at most the 16 lines of img, got 17"),
        ({"segments": [[7], [16]]}, "below the 16"),
        ({"segments": [[1], [2]]}, "line 8, the zero frequency"),
        ({"segments": 4, "phase_axis": 2}, "phase_axis must be within .* for img, got 2"),
    ],
)
def test_arguments_that_do_not_fit_the_image(arguments, words):
    with pytest.raises(ValueError, match=words):
        MRIMotionCorrection(**arguments)(torch.ones(1, 16, 16, dtype=torch.complex64))


def test_maps_of_another_shape():
    image = torch.ones(2, 16, 16, dtype=torch.complex64)
    with pytest.raises(ValueError, match="maps must have the shape"):
        MRIMotionCorrection(2)(image, maps=torch.ones(3, 16, 16, dtype=torch.complex64))

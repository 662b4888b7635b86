"""The correction of motion in the gallery: motion, results, errors and figures are what is said."""

import re

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.figures.gallery import images, moving
from monai_medaug.figures.gallery.images import gallery_image
from monai_medaug.transforms import MRIMotionCorrection

SIZE = 96


def test_lines_keep_their_magnitude_and_their_segment_has_one_shift():
    """Checked against whole slices shifted by what the phase of a single line says."""
    random = np.random.default_rng(0)
    still = random.normal(size=(64, 48)) + 1j * random.normal(size=(64, 48))
    moved = moving.moving_scan(torch.from_numpy(still), (1.5, 2.0)).numpy()
    ratio = np.fft.fftshift(np.fft.fft2(moved) / np.fft.fft2(still))
    np.testing.assert_allclose(np.abs(ratio), 1)
    np.testing.assert_allclose(ratio[32:40], 1)  # the segment of the zero frequency
    for segment in np.split(ratio, 8):
        for axis, step, length in ((0, 1.5, 64), (1, 2.0, 48)):
            turn = np.roll(segment, -1, axis) / segment
            turn = turn[:-1] if axis == 0 else turn[:, :-1]
            np.testing.assert_allclose(turn, turn[0, 0])
            assert abs(np.angle(turn[0, 0]) / (2 * np.pi)) * length * step <= 3


def test_figures_are_those_of_the_calls(monkeypatch):
    monkeypatch.setattr(images, "_LONGEST", SIZE)
    source, settings = gallery_image("mri"), MRIMotionCorrection.gallery.arguments[:1]
    operations = [MRIMotionCorrection(**setting) for setting in settings]
    above, below = moving.motion_lines(settings, operations, source)
    assert [picture.title for picture in above[2:]] == ["segments 8, rotate degrees 0"]
    truth, spacing = source.image[0].numpy(), np.linalg.norm(source.image.affine[:3, :2], axis=0)
    still = torch.polar(torch.from_numpy(truth).double(), moving.smooth_phase(truth.shape))
    moved = moving.moving_scan(still, spacing)
    given = MetaTensor(moved[None].to(torch.complex64), affine=source.image.affine)
    shown = [np.abs(np.asarray(image)).T for image in (moved, *(operation(given)[0] for operation in operations))]
    ratios = []
    for picture, error, made in zip(above[1:], below[1:], shown, strict=True):
        np.testing.assert_allclose(picture.values, made, atol=0.01)
        np.testing.assert_array_equal(error.values, picture.values - above[0].values)
        wrong = np.clip(made, *source.window) - np.clip(truth.T, *source.window)
        ratios.append(float(20 * np.log10(source.window[1]) - 10 * np.log10(np.mean(wrong**2))))
        assert float(re.fullmatch(r"PSNR (\d+\.\d) dB", *picture.caption)[1]) == pytest.approx(ratios[-1], abs=0.051)
    assert ratios[1] > ratios[0]


def test_motion_is_undone_at_the_size_of_the_gallery():
    setting = MRIMotionCorrection.gallery.arguments[0]
    above, below = moving.motion_lines([setting], [MRIMotionCorrection(**setting)], gallery_image("mri"))
    moved, corrected = (float(picture.caption[0].split()[1]) for picture in above[1:])
    assert corrected > moved + 15
    before, after = (np.square(error.values).mean() for error in below[1:])
    assert after < before / 20

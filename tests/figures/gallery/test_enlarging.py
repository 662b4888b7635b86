"""Operations that enlarge in the gallery: what is reduced, the results, their errors and figures are what is said."""

import re

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.figures.gallery import enlarging, images
from monai_medaug.figures.gallery.images import gallery_image
from monai_medaug.figures.gallery.write import _argument_text, constructed, gallery_operations
from monai_medaug.functional.geometry.upscale import reduced
from monai_medaug.transforms import NetworkRestore, Upscale

SIZE = 96


def test_figures_are_those_of_the_calls(monkeypatch):
    monkeypatch.setattr(images, "_LONGEST", SIZE)
    source, settings = gallery_image("ct"), Upscale.gallery.arguments
    operations = [constructed(Upscale, s) for s in settings]
    above, below = enlarging.enlarging_lines(settings, operations, source, 2)
    low, high = source.window
    side = [n // 2 * 2 for n in source.image.shape[1:]]
    truth = source.image.as_tensor()[:, : side[0], : side[1]]
    coarse = reduced(truth[None], [n // 2 for n in side])[0]
    assert [picture.title for picture in above[2:]] == ["method bilinear", "method bicubic", "method backprojection"]
    clean = above[0].values
    matches = np.lib.stride_tricks.sliding_window_view(truth[0].numpy().T, clean.shape) == clean
    (down,), (right,) = np.nonzero(matches.all((2, 3)))
    part = np.s_[down : down + SIZE // 2, right : right + SIZE // 2]
    ratios = []
    for operation, picture, error in zip(operations, above[2:], below[2:], strict=True):
        made = operation(MetaTensor(coarse))[0].numpy().T[part]
        np.testing.assert_allclose(picture.values, made, atol=1e-3)
        np.testing.assert_allclose(error.values, made - clean, atol=1e-3)
        wrong = np.clip(made, low, high) - np.clip(clean, low, high)
        ratios.append(10 * np.log10((high - low) ** 2 / np.mean(wrong**2, dtype=float)))
        assert float(re.fullmatch(r"PSNR (\d+\.\d) dB", *picture.caption)[1]) == pytest.approx(ratios[-1], abs=0.051)
    assert ratios == sorted(ratios)
    assert below[2].span[1] == -below[2].span[0] > 0


def test_a_network_stands_in_the_entry_as_in_a_config():
    assert {"Upscale", "NetworkRestore"} <= gallery_operations().keys()
    arguments = NetworkRestore.gallery.arguments[1]
    assert _argument_text(arguments["network"]) == "load_pretrained(name='ct_sr')"
    restore = constructed(NetworkRestore, arguments)
    assert restore.scale == 2
    assert isinstance(restore.network, torch.nn.Module)

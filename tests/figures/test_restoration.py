"""The picture of a restoration."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.figures import restoration_figure
from tests.scan_files import ct_volume


def test_the_picture_shows_what_was_removed():
    image = MetaTensor(torch.from_numpy(ct_volume((26, 24, 60)).astype(np.float32))[None])
    figure = restoration_figure(image, image - 5, "less 5", window="soft_tissue")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == ["original", "less 5"]
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), 5, atol=1e-3)
    with pytest.raises(ValueError, match="restored must have"):
        restoration_figure(image, image[:, 1:])

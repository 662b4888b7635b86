"""The evaluation's picture."""

import pytest
import torch

from monai_medaug.figures import evaluation_figure


def test_panels_with_and_without_a_reference(tmp_path):
    image = torch.randn(1, 20, 24, 6, generator=torch.Generator().manual_seed(0))
    drawn = evaluation_figure(image, 0.5 * image, path=tmp_path / "a.png")
    titles = [axes.get_title() for axes in drawn.axes if axes.get_title()]
    assert [t.split(",")[0] for t in titles] == ["original", "enhanced", "enhanced - original"]
    drawn = evaluation_figure(image, 0.5 * image, 0 * image, path=tmp_path / "b.png")
    titles = [axes.get_title().split(",")[0] for axes in drawn.axes if axes.get_title()]
    assert titles == ["original", "enhanced", "reference", "original - reference", "enhanced - reference"]
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("a.png", "b.png"))


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="enhanced must have the original's shape"):
        evaluation_figure(torch.zeros(1, 8, 8), torch.zeros(1, 8, 9))

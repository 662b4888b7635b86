"""The patient is told apart from the table, lungs included, in whole slices and in crops."""

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_medaug.functional.ct.body import find_patient
from tests.scan_files import real_scan


def bodies(table: float = 100.0) -> torch.Tensor:
    """Two slices: an ellipse with a lung and vessels, touching a table of 3 pixels of 1 mm, whose shell is empty."""
    y, x = np.indices((160, 200)) - np.array([70, 100])[:, None, None]
    plane = np.where((x / 80) ** 2 + (y / 50) ** 2 < 1, 40.0, -1000.0)
    plane[((x - 30) / 25) ** 2 + (y / 30) ** 2 < 1] = -850.0
    plane[((x - 30) ** 2 + y**2) < 5] = 40.0
    plane[120:123, 20:180] = plane[150:152, 20:180] = table
    return torch.from_numpy(plane).float().expand(2, -1, -1)


@pytest.mark.parametrize("spacing", [1.0, 1.7])
def test_the_table_is_left_out_and_what_the_body_encloses_is_kept(spacing):
    volume = bodies()
    patient = find_patient(volume, (spacing, spacing))
    body = volume[0, :117] > -950
    assert bool(patient.voxels[:, :117][:, body].all())
    assert not patient.voxels[:, 150:152].any()
    assert float(patient.voxels[:, 120:123].float().mean()) < 0.5  # where it touches the skin
    assert patient.has_lung
    assert patient.diameter_mm == pytest.approx(spacing * 2 * np.sqrt(80 * 50), rel=0.05)


def test_padding_and_crops_and_air():
    volume = bodies()
    padded = torch.nn.functional.pad(volume, (20, 20, 20, 20), value=-2048.0)
    inner = find_patient(padded, (1.0, 1.0)).voxels
    assert bool(inner[0, 90, 120])
    assert not inner[:, :10].any()
    crop = volume[:, 50:90, 110:170]  # of lung and wall
    assert bool(find_patient(crop, (1.0, 1.0)).voxels.all())
    nothing = find_patient(torch.full((1, 30, 30), -1000.0), (1.0, 1.0))
    assert bool(nothing.voxels.all())
    assert not nothing.is_trunk


@pytest.mark.parametrize(
    ("name", "trunk"), [("ct_head_ge_512", False), ("lidc_0001_ct", True), ("msd_spleen2_ct_image", True)]
)
def test_in_real_scans(name, trunk):
    image = nib.as_closest_canonical(nib.load(real_scan(f"{name}.nii.gz")))
    volume = torch.from_numpy(np.asarray(image.dataobj, np.float32)).permute(2, 1, 0)
    x, y, _ = (float(v) for v in image.header.get_zooms())
    patient = find_patient(volume, (y, x))
    assert patient.is_trunk == trunk
    tissue = (volume > -200) & (volume < 200)
    assert float(patient.voxels[tissue].float().mean()) > 0.93
    if name == "lidc_0001_ct":  # its table: a shell below the back
        below = volume[:, :8] > -700
        assert float(patient.voxels[:, :8][below].float().mean()) < 0.2

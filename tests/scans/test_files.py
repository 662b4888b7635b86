"""Reading and writing: the right voxels in the right place, errors that name the problem and no path."""

import errno
import gzip
import logging

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.transforms import LoadImage

from monai_medaug.scans.files import ScanError, read_scan, staged, write_scan
from monai_medaug.scans.place import require_same_place
from tests.scan_files import (
    AFFINE,
    CT_SMALL,
    ct_volume,
    dicom_folder,
    dicom_slice,
    real_scan,
    write_nifti,
)

RAW = pydicom.dcmread(CT_SMALL).pixel_array.T.astype(np.float32) - 1024


def written(scan, tmp_path, image=None):
    write_scan(scan.image if image is None else image, scan, tmp_path / "out.nii.gz")
    return nib.load(tmp_path / "out.nii.gz")


def test_one_dicom_slice_reads_as_monai_reads_it(tmp_path):
    scan, monai = read_scan(CT_SMALL), LoadImage("PydicomReader", ensure_channel_first=True)(CT_SMALL)
    assert torch.equal(scan.image.as_tensor(), monai.as_tensor())
    affine = scan.image.affine.numpy()
    np.testing.assert_allclose(affine[:, [0, 1, 3]], monai.affine.numpy()[:, [0, 1, 3]])
    np.testing.assert_allclose(affine[:3, 2], [0, 0, 5])  # slice thickness along the normal
    assert scan.modality == "CT"
    assert "filename_or_obj" not in scan.image.meta


def test_a_file_name_without_suffix_and_a_big_step_between_types(tmp_path):
    dicom_slice(tmp_path / "IM0001", RescaleSlope=0.5, RescaleIntercept=-1000.25)
    image = read_scan(tmp_path / "IM0001").image
    np.testing.assert_allclose(image[0].numpy(), (RAW + 1024) * 0.5 - 1000.25)


def test_folder_is_ordered_by_position_not_by_number(tmp_path):
    scan = read_scan(dicom_folder(tmp_path / "series"))
    assert scan.image.shape == (1, 128, 128, 6)
    for k in range(6):
        np.testing.assert_array_equal(scan.image[0, ..., k].numpy(), RAW + k)
    np.testing.assert_allclose(scan.image.affine.numpy()[:, 2:], [[0, 10], [0, 20], [5, 0], [0, 1]])


def test_folder_passes_over_what_is_no_image(tmp_path):
    folder = dicom_folder(tmp_path / "series", InstanceNumber=None)
    (folder / "notes.txt").write_text("no DICOM")
    (folder / "deeper").mkdir()
    report = pydicom.Dataset()
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3"
    report.file_meta = pydicom.dataset.FileMetaDataset()
    report.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    report.save_as(folder / "SR1", enforce_file_format=True)
    assert read_scan(folder).image.shape == (1, 128, 128, 6)


def test_each_slice_has_its_own_slope(tmp_path):
    for k in range(3):
        dicom_slice(tmp_path / "s" / f"{k}", (0, 0, 2 * k), RescaleSlope=1 + k)
    image = read_scan(tmp_path / "s").image
    for k in range(3):
        np.testing.assert_allclose(image[0, ..., k].numpy(), (RAW + 1024) * (1 + k) - 1024)


def test_gantry_tilt_gives_a_sheared_affine_that_puts_each_slice_where_it_was(tmp_path):
    positions = [(-10.0, -20.0 + 1.1 * k, 5.0 * k) for k in range(4)]
    scan = read_scan(dicom_folder(tmp_path / "s", positions))
    affine = scan.image.affine.numpy()
    for k, (x, y, z) in enumerate(positions):
        np.testing.assert_allclose(affine @ [0, 0, k, 1], [-x, -y, z, 1], atol=1e-9)
    np.testing.assert_allclose(written(scan, tmp_path).affine, affine, atol=1e-5)


def test_sagittal_folder(tmp_path):
    positions = [(3.0 * k, -20.0, 5.0) for k in (2, 0, 1)]
    scan = read_scan(dicom_folder(tmp_path / "s", positions, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]))
    affine = scan.image.affine.numpy()
    order = [(affine @ [0, 0, k, 1])[0] for k in range(3)]
    assert sorted(order) == [-6, -3, 0]
    for k, x in enumerate(order):  # slice at LPS x was written with values raised by its number
        raised = {6.0: 0, 0.0: 1, 3.0: 2}[-x]
        np.testing.assert_array_equal(scan.image[0, ..., k].numpy(), RAW + raised)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda f: dicom_folder(f, SeriesInstanceUID=None) and dicom_folder(f / "b") and dicom_slice(f / "x"),
            "series",
        ),
        (lambda f: dicom_folder(f, [(0, 0, 0), (0, 0, 2), (0, 0, 2)]), "several slices at one position"),
        (lambda f: dicom_folder(f, [(0, 0, z) for z in (0, 2, 4, 8, 10)]), "missing or unevenly spaced"),
        (lambda f: dicom_folder(f) and dicom_slice(f / "x", (0, 0, 99), PixelSpacing=[1, 1]), "different"),
        (lambda f: dicom_folder(f) and dicom_slice(f / "x", ImagePositionPatient=None), "without a position"),
        (lambda f: dicom_slice(f / "x", NumberOfFrames=2, PixelData=bytes(65536)), "several frames"),
        (
            lambda f: dicom_folder(f) and dicom_slice(f / "x", PixelData=None),
            "1 of 7 images are cut short or without pixels",
        ),
        (lambda f: dicom_folder(f) and (f / "IM9.DCM").write_text("cut short"), "1 of 7 files that are broken"),
        (lambda f: dicom_slice(f / "x", PixelData=b"12"), "broken"),
        (lambda f: f.mkdir(), "holds no DICOM"),
    ],
)
def test_a_folder_that_is_no_stack_is_refused(tmp_path, make, problem):
    make(tmp_path / "Doe_John")
    with pytest.raises(ScanError, match=problem) as error:
        read_scan(tmp_path / "Doe_John")
    assert "Doe" not in str(error.value)
    assert "\n" not in str(error.value)


def test_nifti_comes_back_where_it_was_and_nothing_else_of_its_header(tmp_path):
    path = write_nifti(tmp_path / "ct.nii", ct_volume())
    image = nib.load(path)
    header = image.header
    header["descrip"], header["aux_file"], header["intent_name"] = b"DOE^JOHN", b"doe.aux", b"doe"
    header["db_name"] = b"doe"
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"DOE^JOHN 1970"))
    nib.save(image, tmp_path / "planted.nii.gz")
    scan = read_scan(tmp_path / "planted.nii.gz")
    back = written(scan, tmp_path)
    np.testing.assert_array_equal(scan.image[0].numpy(), ct_volume())
    np.testing.assert_array_equal(back.affine, nib.load(path).affine)
    for name in ("qform_code", "sform_code", "pixdim", "xyzt_units", "quatern_b", "srow_y", "qoffset_x"):
        np.testing.assert_array_equal(back.header[name], header[name])
    np.testing.assert_array_equal(back.get_fdata(), ct_volume())
    assert back.get_data_dtype() == np.float32
    content = gzip.decompress((tmp_path / "out.nii.gz").read_bytes())
    assert b"DOE" not in content.upper()
    assert not back.header.extensions


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 3), (2, 4)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_affine_is_kept_exactly_for_all_form_codes(tmp_path, codes, kind):
    image = kind(ct_volume(), None)
    image.header.set_zooms((0.7, 0.8, 3))
    image.set_qform(AFFINE, codes[0])
    image.set_sform(AFFINE if codes[1] else None, codes[1])
    nib.save(image, tmp_path / "ct.nii.gz")
    source = nib.load(tmp_path / "ct.nii.gz")
    back = written(read_scan(tmp_path / "ct.nii.gz"), tmp_path)
    assert type(back) is kind
    np.testing.assert_array_equal(back.affine, source.affine)
    assert (int(back.header["qform_code"]), int(back.header["sform_code"])) == codes


def test_scaled_and_big_endian_nifti(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    header.set_slope_inter(2, -1024)
    image = nib.Nifti1Image(ct_volume(), AFFINE, header)
    image.header.set_slope_inter(2, -1024)
    nib.save(image, tmp_path / "ct.nii")
    np.testing.assert_allclose(
        read_scan(tmp_path / "ct.nii").image[0].numpy(), nib.load(tmp_path / "ct.nii").get_fdata()
    )


@pytest.mark.parametrize(
    ("stored", "shown"), [((40, 36), (40, 36)), ((40, 36, 1), (40, 36)), ((8, 6, 4, 1), (8, 6, 4))]
)
def test_axes_of_one_are_dropped_and_written_again(tmp_path, stored, shown):
    values = np.arange(np.prod(stored), dtype=np.int16).reshape(stored)
    scan = read_scan(write_nifti(tmp_path / "a.nii", values))
    assert scan.image.shape == (1, *shown)
    back = written(scan, tmp_path)
    assert back.shape == stored
    np.testing.assert_array_equal(back.get_fdata(), values)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_masks_keep_type_and_labels(tmp_path, dtype):
    labels = np.zeros((5, 6, 7), dtype)
    labels[2] = 101
    nib.save(nib.Nifti1Image(labels, AFFINE, dtype=dtype), tmp_path / "m.nii.gz")
    scan = read_scan(tmp_path / "m.nii.gz", labels=True)
    back = written(scan, tmp_path)
    assert back.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asanyarray(back.dataobj), labels)


def test_whole_numbers_stored_as_floats_are_labels(tmp_path):
    scan = read_scan(write_nifti(tmp_path / "m.nii", np.full((4, 4, 4), 3.0)), labels=True)
    assert scan.image.dtype == torch.uint8
    with pytest.raises(ScanError, match="the mask file must hold whole numbers"):
        read_scan(write_nifti(tmp_path / "h.nii", np.full((4, 4, 4), 0.5)), labels=True, what="the mask file")


def broken_nifti(folder):
    path = write_nifti(
        folder / "mueller.nii.gz", np.random.default_rng(0).integers(0, 999, (30, 30, 30), dtype=np.int16)
    )
    path.write_bytes(path.read_bytes()[:20000])
    return path


def broken_dicom(folder):
    dicom_slice(folder / "mueller.dcm")
    (folder / "mueller.dcm").write_bytes((folder / "mueller.dcm").read_bytes()[:9000])
    return folder / "mueller.dcm"


def text_file(folder, name="mueller.dcm"):
    (folder / name).write_text("Mueller, this is no image")
    return folder / name


@pytest.mark.parametrize(
    "make",
    [
        broken_nifti,
        broken_dicom,
        text_file,
        lambda f: text_file(f, "mueller.nii.gz"),
        lambda f: text_file(f, "mueller.nii"),
        lambda f: f / "mueller.nii.gz",
        lambda f: write_nifti(f / "mueller.nii", np.zeros((4, 4, 4, 2), np.int16)),
        lambda f: write_nifti(f / "mueller.nii", np.zeros((4, 4, 4), np.complex64)),
        lambda f: write_nifti(f / "mueller.nii", np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
    ],
)
def test_what_cannot_be_read_is_one_line_without_the_path(tmp_path, make, capfd, recwarn):
    path = make(tmp_path)
    with pytest.raises(ScanError) as error:
        read_scan(path)
    assert "\n" not in str(error.value)
    assert "mueller" not in str(error.value).lower()
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    assert "".join(capfd.readouterr()) == ""
    assert not recwarn.list


def test_singular_affine_is_refused(tmp_path):
    image = nib.Nifti1Image(ct_volume(), None)
    image.header["sform_code"] = 1
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(ScanError, match="affine"):
        read_scan(tmp_path / "a.nii")


def test_readers_stay_silent_about_bad_values_and_are_heard_again(tmp_path, capfd, recwarn):
    uid = dicom_slice(tmp_path / "x").SeriesInstanceUID.encode()
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes().replace(uid, b"Mueller".ljust(len(uid), b"!")))
    loggers = [logging.getLogger(name) for name in ("pydicom", "nibabel.global")]
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with pytest.warns(UserWarning, match="Mueller"):
            assert pydicom.dcmread(tmp_path / "x").SeriesInstanceUID  # what pydicom would say
        assert records
        records.clear()
        recwarn.clear()
        read_scan(tmp_path / "x")
        assert not records
        assert not recwarn.list
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert "".join(capfd.readouterr()) == ""
    assert not any(logger.disabled for logger in loggers)


def test_labels_may_lie_on_another_grid_but_not_elsewhere(tmp_path):
    body = (ct_volume() > -300).astype(np.uint8)
    image = read_scan(write_nifti(tmp_path / "a.nii", ct_volume()))
    coarse = AFFINE @ np.diag([2, 2, 1, 1.0])
    require_same_place(image, read_scan(write_nifti(tmp_path / "b.nii", body[::2, ::2], coarse), labels=True))
    lost = read_scan(write_nifti(tmp_path / "c.nii", body, np.eye(4)), labels=True)
    with pytest.raises(ScanError, match="the mask file does not match the input"):
        require_same_place(image, lost)
    flat = read_scan(write_nifti(tmp_path / "d.nii", body[..., 5]), labels=True)
    with pytest.raises(ScanError, match="must have 3 axes as the input has, got 2"):
        require_same_place(image, flat)
    plane = read_scan(write_nifti(tmp_path / "e.nii", ct_volume()[..., 5]))
    require_same_place(plane, flat)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    scan = read_scan(CT_SMALL)

    def full(image, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(OSError, match="No space"):
        write_scan(scan.image, scan, tmp_path / "new" / "folder" / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="shape"):
        write_scan(scan.image[:, 1:], scan, tmp_path / "a.nii.gz")


def interrupted(folder, error):
    with staged(folder) as temporary:
        (temporary / "a").write_text("a")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_staged_files_arrive_together_or_not_at_all(tmp_path, error):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "old").write_text("old")
    for folder in (kept, tmp_path / "new"):
        with pytest.raises(error):
            interrupted(folder, error)
    assert [p.name for p in tmp_path.rglob("*")] == ["kept", "old"]
    with staged(tmp_path / "new") as temporary:
        (temporary / "a").write_text("a")
        assert not (tmp_path / "new" / "a").exists()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a"]


def test_real_slice_and_volume_of_a_tilted_head(tmp_path):
    single, monai = (
        read(real_scan("ct_head_ge_12.dcm"))
        for read in (read_scan, LoadImage("PydicomReader", ensure_channel_first=True))
    )
    assert torch.equal(single.image.as_tensor(), monai.as_tensor())
    affine = single.image.affine.numpy()
    np.testing.assert_allclose(affine[:, [0, 1, 3]], monai.affine.numpy()[:, [0, 1, 3]], atol=1e-9)
    assert abs(affine[:3, 2] @ affine[:3, :2]).max() < 1e-9  # the normal, although the gantry is tilted
    assert float(single.image.min()) == -1500
    path = real_scan("ct_head_ge_512.nii.gz")
    scan = read_scan(path)
    back = written(scan, tmp_path)
    np.testing.assert_array_equal(back.affine, nib.load(path).affine)
    np.testing.assert_array_equal(back.get_fdata(dtype=np.float32), nib.load(path).get_fdata(dtype=np.float32))

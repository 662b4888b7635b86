"""Volumes of a file, NaN, NIfTI pairs, pictures, MetaImage and NRRD: the right voxels in the right place."""

import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from monai_medaug.core import tensors
from monai_medaug.scans import ScanError, placed_labels, read_scan, write_scan
from tests.commands.command_line import files, run
from tests.scan_files import AFFINE, ct_volume, dicom_folder, write_nifti

LPS = np.diag([-1.0, -1, 1, 1])
GREY = np.add.outer(np.arange(30), 5 * np.arange(40)).astype(np.uint8)  # 30 rows, 40 columns


def picture(path, array, mode=None, **options):
    (Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)).save(path, **options)
    return path


def coloured(array, *more):
    return np.stack([array] * 3 + [np.full_like(array, value) for value in more], axis=-1)


# --- volumes and NaN ------------------------------------------------------------------------------------------------


def series(folder):
    volumes = np.stack([ct_volume() + 10 * k for k in range(3)], axis=-1)
    return write_nifti(folder / "mueller4d.nii.gz", volumes), volumes


def test_a_volume_of_several_is_chosen_and_written_alone(tmp_path):
    path, volumes = series(tmp_path)
    scan = read_scan(path, volume=2)
    np.testing.assert_array_equal(scan.image[0].numpy(), volumes[..., 1])
    write_scan(scan.image, scan, tmp_path / "out.nii")
    back = nib.load(tmp_path / "out.nii")
    assert back.shape == volumes.shape[:3]
    np.testing.assert_array_equal(back.affine, nib.load(path).affine)
    vector = write_nifti(tmp_path / "v.nii", volumes[..., None, :])
    assert torch.equal(read_scan(vector, volume=2).image, scan.image)
    flat = write_nifti(tmp_path / "f.nii", volumes[:, :, 5:6])
    np.testing.assert_array_equal(read_scan(flat, volume=3).image[0].numpy(), volumes[:, :, 5, 2])


def test_the_message_says_how_many_volumes_and_which_option(tmp_path):
    path, _ = series(tmp_path)
    with pytest.raises(ScanError, match=r"holds 3 volumes: choose one by volume \(--volume\), 1 to 3"):
        read_scan(path)
    with pytest.raises(ScanError, match=r"holds 3 volumes: volume \(--volume\) must be from 1 to 3, got 4"):
        read_scan(path, volume=4)
    single = write_nifti(tmp_path / "s.nii", ct_volume())
    assert read_scan(single, volume=1).image.shape == (1, *ct_volume().shape)
    with pytest.raises(ScanError, match=r"holds one volume: volume \(--volume\) must be from 1 to 1, got 2"):
        read_scan(single, volume=2)
    for wrong in (0, 1.5, "x"):
        with pytest.raises(ValueError, match="volume must be"):
            read_scan(path, volume=wrong)
    with pytest.raises(ScanError, match="or several along a fourth, got shape"):
        read_scan(write_nifti(tmp_path / "5.nii", np.zeros((4, 4, 4, 2, 3), np.int16)), volume=1)


def test_a_mask_of_one_volume_serves_every_volume(tmp_path):
    path, volumes = series(tmp_path)
    body = (volumes > -300).astype(np.uint8)
    one, many = write_nifti(tmp_path / "m.nii", body[..., 0]), write_nifti(tmp_path / "n.nii", body)
    assert torch.equal(read_scan(one, True, volume=3).image, read_scan(many, True, volume=3).image)
    more = ("--modality", "ct", "--seed", 1, "--out", tmp_path / "out")
    assert run("augment", path, "--volume", 3, "--mask", one, "--lesion", many, *more) == 0
    assert nib.load(tmp_path / "out" / "augmented_001.nii.gz").shape == volumes.shape[:3]


def test_restore_takes_a_volume(tmp_path, capfd):
    path, volumes = series(tmp_path)
    arguments = ("restore", path, "--method", "median", "--out", tmp_path / "a.nii")
    assert run(*arguments) == 2
    assert "holds 3 volumes: choose one by volume (--volume), 1 to 3" in capfd.readouterr().err
    assert run(*arguments, "--volume", 9) == 2
    assert "1 to 3, got 9" in capfd.readouterr().err
    assert run(*arguments, "--volume", 0) == 2
    assert "argument --volume: must be 1 or more" in capfd.readouterr().err
    assert run(*arguments, "--volume", 2) == 0
    assert nib.load(tmp_path / "a.nii").shape == volumes.shape[:3]


def test_nan_is_refused_with_its_count_or_replaced(tmp_path, capfd):
    values = ct_volume().astype(np.float32)
    values[:2] = np.nan
    path = write_nifti(tmp_path / "mueller.nii.gz", values)
    message = rf"NaN in {2 * 36 * 12} of {values.size} voxels: name the value that they become by nan_as \(--nan-as"
    with pytest.raises(ScanError, match=message):
        read_scan(path)
    filled = read_scan(path, nan_as=-1000).image[0].numpy()
    np.testing.assert_array_equal(filled, np.nan_to_num(values, nan=-1000))
    for wrong in (np.nan, np.inf, 1e39, "x"):
        with pytest.raises(ValueError, match="nan_as must be"):
            read_scan(path, nan_as=wrong)
    values[5, 5, 5] = -np.inf
    infinite = write_nifti(tmp_path / "i.nii", values)
    for nan_as in (None, 0):
        with pytest.raises(ScanError, match="holds 1 infinite values"):
            read_scan(infinite, nan_as=nan_as)
    for command in (("augment", "--modality", "ct", "--out", tmp_path / "o"), ("restore", "--method", "median")):
        out = () if command[0] == "augment" else ("--out", tmp_path / "r.nii")
        assert run(command[0], path, *command[1:], *out) == 2
        assert "--nan-as" in capfd.readouterr().err
        assert run(command[0], path, *command[1:], *out, "--nan-as", "nan") == 2
        assert "argument --nan-as: must be finite" in capfd.readouterr().err
        assert run(command[0], path, *command[1:], *out, "--nan-as", "-1000") == 0
    assert np.isfinite(nib.load(tmp_path / "r.nii").get_fdata()).all()


def test_nan_in_masks_becomes_background(tmp_path, capfd):
    labels = np.where(ct_volume() > -300, 1.0, np.nan).astype(np.float32)
    path = write_nifti(tmp_path / "m.nii", labels)
    with pytest.raises(ScanError, match=r"nan_as \(--nan-as, where it is 0 in masks\)"):
        read_scan(path, labels=True)
    assert set(read_scan(path, labels=True, nan_as=0).image.unique().tolist()) == {0, 1}
    image = write_nifti(tmp_path / "i.nii", ct_volume())
    arguments = ("augment", image, "--modality", "ct", "--mask", path, "--seed", 1, "--out", tmp_path / "out")
    assert run(*arguments) == 2
    assert "the mask file holds NaN in" in capfd.readouterr().err
    assert run(*arguments, "--nan-as", "-1000") == 0
    assert set(np.unique(nib.load(tmp_path / "out" / "augmented_001_mask.nii.gz").get_fdata())) == {0, 1}


def test_masks_nearly_whole(tmp_path):
    path = tmp_path / "m.nii"
    stored = nib.Nifti1Image((3 * (ct_volume() > -300) + 249 * (ct_volume() == 90)).astype(np.uint8), AFFINE)
    stored.header.set_slope_inter(1.0000153 / 3, -0.004)
    nib.save(stored, path)
    labels = read_scan(path, labels=True).image
    assert labels.dtype == torch.uint8
    assert set(labels.unique().tolist()) == {0, 1, 84}
    with pytest.raises(ScanError, match=r"must hold whole numbers, one per label, got fractions, up to 0\.4 away"):
        read_scan(write_nifti(path, np.full((3, 3, 3), 1.4)), labels=True)
    large = write_nifti(path, np.array([[0.0, 182305696.0], [3e9, 1.0]]))
    assert read_scan(large, labels=True).image.flatten().tolist() == [0, 182305696, 3000000000, 1]


# --- NIfTI in other clothes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("ending", ["hdr", "img"])
def test_a_pair_of_header_and_image(tmp_path, kind, ending):
    nib.save(kind(ct_volume(), AFFINE), tmp_path / "a.img")
    scan = read_scan(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(scan.image[0].numpy(), ct_volume())
    write_scan(scan.image, scan, tmp_path / "out.nii.gz")
    np.testing.assert_allclose(nib.load(tmp_path / "out.nii.gz").affine, AFFINE, atol=1e-5)


def test_an_analyze_file_is_refused_for_its_sides(tmp_path):
    nib.save(nib.AnalyzeImage(ct_volume(), np.eye(4)), tmp_path / "a.img")
    with pytest.raises(ScanError, match="an Analyze file doesn't tell left from right"):
        read_scan(tmp_path / "a.hdr")


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "array", "mode"),
    [
        ("a.png", GREY, None),
        ("a.PNG", GREY, None),
        ("a.bmp", GREY, None),
        ("a.tif", GREY, None),
        ("a.png", 200 * GREY.astype(np.uint16), None),
        ("a.tiff", 200 * GREY.astype(np.uint16), None),
        ("a.tiff", GREY / np.float32(7), None),
        ("a.png", coloured(GREY), None),
        ("a.png", coloured(GREY, 255), None),
        ("a.png", coloured(GREY, 0), None),
        ("a.png", GREY, "LA"),
        ("a.png", GREY, "P"),
    ],
)
def test_a_grey_picture_is_column_and_row_with_its_values(tmp_path, name, array, mode):
    scan = read_scan(picture(tmp_path / name, array, mode))
    grey = array if array.ndim == 2 else array[..., 0]
    np.testing.assert_array_equal(scan.image[0].numpy(), grey.T.astype(np.float32))
    np.testing.assert_array_equal(scan.image.affine.numpy(), LPS)
    assert (scan.modality, scan.inverted, scan.placement) == (None, False, "none")
    write_scan(scan.image, scan, tmp_path / "out.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "out.nii").affine, LPS)


def test_a_folder_is_dicom_whatever_its_name(tmp_path):
    for name in ("a.png", "a.nii", "a.mha"):
        assert read_scan(dicom_folder(tmp_path / name)).image.shape == (1, 128, 128, 6)


def test_one_bit_and_a_jpeg(tmp_path):
    flags = np.indices((30, 40))[1] > 20
    scan = read_scan(picture(tmp_path / "a.png", flags))
    assert set(scan.image.unique().tolist()) == {0, 1}
    assert read_scan(tmp_path / "a.png", labels=True).image.dtype == torch.uint8
    smooth = np.add.outer(np.arange(32), 2 * np.arange(40)).astype(np.uint8)
    for mode in (None, "RGB"):
        scan = read_scan(picture(tmp_path / "a.jpg", smooth, mode, quality=95))
        assert np.abs(scan.image[0].numpy() - smooth.T).max() < 4


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_in_each_channel_stay(tmp_path, channels):
    import cv2

    deep = np.stack([257 * GREY.astype(np.uint16) + 3] * 3 + [np.full(GREY.shape, 65535, np.uint16)], -1)
    cv2.imwrite(str(tmp_path / "a.png"), deep[..., :channels])
    np.testing.assert_array_equal(read_scan(tmp_path / "a.png").image[0].numpy(), deep[..., 0].T)


def test_a_turned_photograph_reads_as_viewers_show_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture(tmp_path / "a.png", GREY, exif=exif)
    np.testing.assert_array_equal(read_scan(tmp_path / "a.png").image[0].numpy(), np.rot90(GREY, -1).T)


def test_white_is_zero(tmp_path):
    deep = 200 * GREY.astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.tif", tiffinfo={262: 0})
    scan = read_scan(tmp_path / "a.tif")
    assert scan.inverted
    np.testing.assert_array_equal(scan.image[0].numpy(), deep.T)


def mueller(folder, array, name="mueller.png", mode=None, **options):
    return picture(folder / name, array, mode, **options)


def cut_short(folder):
    path = mueller(folder, np.random.default_rng(0).integers(0, 255, (300, 300), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:9000])
    return path


def see_through(folder):
    array = coloured(GREY, 255)
    array[0, 0, 3] = 7
    return mueller(folder, array)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda f: mueller(f, np.stack([GREY, GREY, GREY // 2], -1)), "greyscale, got colours: its channels differ by"),
        (lambda f: mueller(f, np.stack([GREY, GREY // 3, GREY], -1), mode="P"), "greyscale, got colours"),
        (lambda f: mueller(f, GREY, "mueller.jpg", "CMYK"), "greyscale, got CMYK colours"),
        (see_through, "partly transparent: remove its alpha channel"),
        (lambda f: mueller(f, GREY, "m.tif", save_all=True, append_images=[Image.fromarray(GREY)]), "holds 2 pages"),
        (cut_short, "broken, incomplete or unreadable"),
        (lambda f: (f / "mueller.png").write_text("no image") and f / "mueller.png", "broken"),
    ],
)
def test_a_picture_that_is_no_radiograph_is_one_line(tmp_path, make, problem, capfd, recwarn):
    path = make(tmp_path)
    with pytest.raises(ScanError, match=problem) as error:
        read_scan(path)
    assert "\n" not in str(error.value)
    assert "mueller" not in str(error.value).lower()
    assert "".join(capfd.readouterr()) == ""
    assert not recwarn.list


def test_a_mask_as_a_picture(tmp_path):
    indices = Image.fromarray((GREY > 90).astype(np.uint8) + (GREY > 200))
    palette = indices.convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.putdata(list(np.asarray(indices).ravel()))
    palette.save(tmp_path / "m.png")
    labels = read_scan(tmp_path / "m.png", labels=True).image
    assert set(labels.unique().tolist()) == {0, 1, 2}
    with pytest.raises(ScanError, match="a JPEG, whose compression changes labels"):
        read_scan(picture(tmp_path / "m.jpg", GREY), labels=True)


def test_a_picture_lies_pixel_by_pixel_on_a_file_with_geometry(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "_said", set())
    affine = np.diag([0.25, 0.25, 1, 1.0])
    grey = write_nifti(tmp_path / "i.nii", GREY.T[..., None], affine)
    scan, labels = read_scan(grey), read_scan(picture(tmp_path / "m.png", (GREY > 90).astype(np.uint8)), labels=True)
    with pytest.warns(tensors.Notice, match="the mask file has no geometry of its own: .* pixel by pixel"):
        placed = placed_labels(scan, labels)
    np.testing.assert_array_equal(placed.image.affine.numpy(), affine)
    assert torch.equal(placed.image.as_tensor(), labels.image.as_tensor())
    write_scan(placed.image, placed, tmp_path / "out.nii")
    assert nib.load(tmp_path / "out.nii").shape == (40, 30, 1)
    turned = read_scan(picture(tmp_path / "t.png", (GREY.T > 90).astype(np.uint8)), labels=True)
    with pytest.raises(
        ScanError, match=r"the mask file must have the shape \(40, 30\) of the input, .* got \(30, 40\)"
    ):
        placed_labels(scan, turned)
    both = read_scan(picture(tmp_path / "i.png", GREY))
    assert placed_labels(both, labels).placement == "none"
    with pytest.warns(tensors.Notice, match="the input has no geometry of its own"):
        placed = placed_labels(both, read_scan(write_nifti(tmp_path / "m.nii", GREY.T, affine), labels=True))
    np.testing.assert_array_equal(placed.image.affine.numpy(), LPS)


def test_the_commands_take_pictures(tmp_path, capfd):
    image = picture(tmp_path / "Mueller.png", np.kron(GREY, np.ones((2, 2), np.uint8)))
    mask = picture(tmp_path / "Mueller_mask.png", np.kron((GREY > 90).astype(np.uint8), np.ones((2, 2), np.uint8)))
    more = ("--modality", "xray", "--mask", mask, "--seed", 1, "--out", tmp_path / "out")
    assert run("augment", image, *more) == 0
    kinds = [".nii.gz", ".png", "_mask.nii.gz", "_report.json"]
    assert files(tmp_path / "out") == [f"augmented_001{kind}" for kind in kinds]
    result, labels = (nib.load(tmp_path / "out" / f"augmented_001{kind}.nii.gz") for kind in ("", "_mask"))
    assert result.shape == labels.shape == (80, 60)
    np.testing.assert_array_equal(result.affine, labels.affine)
    assert run("restore", image, "--method", "median", "--out", tmp_path / "r.nii") == 0
    assert nib.load(tmp_path / "r.nii").shape == (80, 60)
    assert "Mueller" not in "".join(capfd.readouterr())


# --- formats whose packages are optional ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("a.mha", "itk", "itk"), ("a.nrrd", "nrrd", "pynrrd"), ("a.png", "PIL.Image", "pillow")],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, name, module, package):
    (tmp_path / name).write_bytes(b"NRRD0004\n")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ScanError, match=f"the input file needs the package {package} to be read: pip install {package}"
    ):
        read_scan(tmp_path / name)


def nrrd_file(path, array, **header):
    import nrrd

    nrrd.write(str(path), array, header)
    return path


def ras_rows(signs):
    """NRRD's rows of directions, and origin, of AFFINE in a space with these signs."""
    local = np.diag([*signs, 1]) @ AFFINE
    return {"space directions": local[:3, :3].T, "space origin": local[:3, 3]}


@pytest.mark.parametrize(
    ("space", "signs", "placement"),
    [
        ("left-posterior-superior", (-1, -1, 1), "stated"),
        ("LPS", (-1, -1, 1), "stated"),
        ("right-anterior-superior", (1, 1, 1), "stated"),
        ("left-anterior-superior", (-1, 1, 1), "stated"),
        ("scanner-xyz", (-1, -1, 1), "guessed"),
    ],
)
def test_an_nrrd_lies_where_its_space_puts_it(tmp_path, space, signs, placement):
    pytest.importorskip("nrrd")
    path = nrrd_file(tmp_path / "a.nrrd", ct_volume(), space=space, **ras_rows(signs))
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.image[0].numpy(), ct_volume())
    np.testing.assert_allclose(scan.image.affine.numpy(), AFFINE, atol=1e-9)
    assert scan.placement == placement
    write_scan(scan.image, scan, tmp_path / "out.nii")
    np.testing.assert_allclose(nib.load(tmp_path / "out.nii").affine, AFFINE, atol=1e-5)


def test_nrrd_with_channels_spacings_or_as_a_mask(tmp_path):
    pytest.importorskip("nrrd")
    layers = np.stack([ct_volume(), ct_volume() + 5])
    rows = ras_rows((-1, -1, 1))
    rows["space directions"] = np.vstack([np.full(3, np.nan), rows["space directions"]])
    path = nrrd_file(tmp_path / "a.nrrd", layers, space="LPS", kinds=["list", "domain", "domain", "domain"], **rows)
    with pytest.raises(ScanError, match="holds 2 volumes"):
        read_scan(path)
    np.testing.assert_array_equal(read_scan(path, volume=2).image[0].numpy(), layers[1])
    np.testing.assert_allclose(read_scan(path, volume=2).image.affine.numpy(), AFFINE, atol=1e-9)
    bare = read_scan(nrrd_file(tmp_path / "b.nrrd", ct_volume(), spacings=[1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(bare.image.affine.numpy(), np.diag([-1.0, -2, 3, 1]))
    assert bare.placement == "guessed"
    flat = read_scan(nrrd_file(tmp_path / "c.nrrd", ct_volume()[..., 3]))
    assert flat.image.shape == (1, 40, 36)
    image = write_nifti(tmp_path / "i.nii", ct_volume())
    body = (ct_volume() > -300).astype(np.uint8)
    mask = nrrd_file(tmp_path / "m.seg.nrrd", body, space="LPS", **ras_rows((-1, -1, 1)))
    assert torch.equal(read_scan(mask, labels=True).image, torch.from_numpy(body[None]))
    more = ("--modality", "ct", "--seed", 1, "--out", tmp_path / "out")
    assert run("augment", image, "--mask", mask, *more) == 0
    (tmp_path / "mueller.nrrd").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ScanError, match="broken") as error:
        read_scan(tmp_path / "mueller.nrrd", volume=1)
    assert "mueller" not in str(error.value)


def itk_image(array, affine=None):
    import itk

    image = itk.image_from_array(np.ascontiguousarray(array.T))
    if affine is not None:
        local = LPS @ affine
        spacing = np.linalg.norm(local[:3, :3], axis=0)
        image.SetSpacing(spacing)
        image.SetOrigin(local[:3, 3])
        image.SetDirection(itk.matrix_from_array(local[:3, :3] / spacing))
    return image


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_a_meta_image_lies_where_itk_puts_it(tmp_path, name):
    itk = pytest.importorskip("itk")
    straight = np.array([[-0.9, 0, 0, 31.5], [0, -0.8, 0, 12.25], [0, 0, 2.5, -77.125], [0, 0, 0, 1.0]])
    itk.imwrite(itk_image(ct_volume(), straight), str(tmp_path / name))
    scan = read_scan(tmp_path / name)
    np.testing.assert_array_equal(scan.image[0].numpy(), ct_volume())
    np.testing.assert_allclose(scan.image.affine.numpy(), straight, atol=1e-9)
    body = (ct_volume() > -300).astype(np.uint8)
    itk.imwrite(itk_image(body, straight), str(tmp_path / f"m{name}"))
    labels = read_scan(tmp_path / f"m{name}", labels=True)
    assert labels.image.dtype == torch.uint8
    assert torch.equal(labels.image.as_tensor(), torch.from_numpy(body[None]))
    itk.imwrite(itk_image(ct_volume()[..., 4]), str(tmp_path / "flat.mha"))
    assert read_scan(tmp_path / "flat.mha").image.shape == (1, 40, 36)


@pytest.mark.parametrize("size", [50, 400, 3000])
def test_a_broken_meta_image_is_one_line(tmp_path, size, capfd):
    itk = pytest.importorskip("itk")
    itk.imwrite(itk_image(ct_volume()), str(tmp_path / "mueller.mha"))
    (tmp_path / "mueller.mha").write_bytes((tmp_path / "mueller.mha").read_bytes()[:size])
    with pytest.raises(ScanError, match="the input file cannot be read") as error:
        read_scan(tmp_path / "mueller.mha")
    assert "mueller" not in str(error.value)
    assert "mueller" not in "".join(capfd.readouterr()).lower()

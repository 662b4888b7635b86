"""Missing and repeated slices: where, in words."""

import pytest

from tests.dicom_files import ENHANCED_MR, enhanced, heard, place, refusal
from tests.scan_files import dicom_folder, dicom_slice


def stack(folder, heights, numbers=None, **tags):
    for k, height in enumerate(heights):
        number = k + 1 if numbers is None else numbers[k]
        dicom_slice(folder / f"{k:03d}", (0, 0, height), k, InstanceNumber=number, **tags)
    return folder


@pytest.mark.parametrize(
    ("heights", "numbers", "said"),
    [
        (
            (0, 2, 4, 8, 10),
            None,
            "the usual gap is 2 mm, and others lie between those with the numbers 3 and 4 (4 mm, as if 1 were missing)",
        ),
        ((0, 2, 4, 10, 12), (9, 8, 7, 4, 3), "numbers 4 and 7 (6 mm, as if 2 were missing)"),
        ((0, 2, 4, 7.1, 9.1), None, "numbers 3 and 4 (3.1 mm)"),
        ((0, 2, 4, 8, 10), (1, 1, 2, 2, 3), "in the order of positions 3 and 4 (4 mm, as if 1 were missing)"),
        (
            (0, 4, 6, 8, 12, 14, 16, 18, 22, 24, 26, 28, 30, 34),
            None,
            "1 and 2 (4 mm, as if 1 were missing), 4 and 5 (4 mm, as if 1 were missing), 8 and 9 (4 mm, as if 1 were "
            "missing) and 1 more gaps",
        ),
        ((0, 2, 4.3, 6.9, 9.6, 12.6), None, "unevenly spaced: "),
    ],
)
def test_uneven_gaps_are_located(tmp_path, heights, numbers, said):
    assert said in refusal(stack(tmp_path / "s", heights, numbers))


def test_gaps_that_grow_and_slices_shifted_sideways(tmp_path):
    heights = [sum(1 + 0.06 * j / 20 for j in range(k)) * 2 for k in range(40)]
    assert "gaps of 2 to 2.228 mm" in refusal(stack(tmp_path / "s", heights))
    dicom_folder(tmp_path / "t", [(0, y, 2 * k) for k, y in enumerate((0, 0, 3, 0))])
    assert "they are shifted sideways against each other" in refusal(tmp_path / "t")


def test_gaps_of_an_enhanced_image(tmp_path):
    enhanced(tmp_path / "x", [place((0, 0, z)) for z in (0, 2, 4, 8, 10)], sop_class=ENHANCED_MR)
    assert "in the order of positions 3 and 4 (4 mm, as if 1 were missing)" in refusal(tmp_path / "x")


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((1, 2, 3, 4), None),
        ((4, 3, 2, 1), None),
        ((0, 1, 2, 3), None),
        ((2, 3, 4, 5), "start at 2, so slices may be missing at the ends"),
        ((1, 3, 4, 7), "skip 3 number(s), so slices may be missing"),
        ((2, 3, 4, 6), "skip 1 number(s) and start at 2, so slices may be missing"),
        ((1, 1, 2, 2), None),
        ((1, 3, 5, 7), None),
        ((101, 102, 103, 104), None),
        ((None, 2, 3, 4), None),
    ],
)
def test_numbers_raise_a_doubt(tmp_path, numbers, said):
    notices = heard(stack(tmp_path / "s", (0, 2, 4, 6), numbers))[1]
    assert notices == ([f"the instance numbers of the slices in the input file {said}"] if said else [])


def test_numbers_of_what_is_passed_over_are_not_missing(tmp_path):
    folder = stack(tmp_path / "s", (0, 2, 4, 6), (2, 3, 5, 6))
    for number in (1, 4):
        scout = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dicom_slice(folder / f"scout{number}", (0, 0, 99), ImageType=scout, InstanceNumber=number)
    notices = heard(folder)[1]
    assert notices == ["the input file holds more than the images that are read: 2 x localizer passed over"]


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ([{"EchoTime": 4.6}, {"EchoTime": 2.3}], "up to 2 at 3 of 3 positions, which differ in echo time;"),
        (
            [{"DiffusionBValue": 0.0, "AcquisitionNumber": 1}, {"DiffusionBValue": 800.0, "AcquisitionNumber": 2}],
            "which differ in b-value, acquisition;",
        ),
        ([{"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}], "in type;"),
        ([{"ConvolutionKernel": "B30"}, {"ConvolutionKernel": "B60"}], "in kernel;"),
    ],
)
def test_several_stacks_in_a_series_are_told_apart(tmp_path, tags, said):
    for k, own in enumerate(tags):
        stack(tmp_path / "s" / "deeper", (0, 2, 4), **own)
        for file in (tmp_path / "s" / "deeper").iterdir():
            raised = file.rename(tmp_path / "s" / f"{file.name}_{k}")
            if k:
                dicom_slice(raised, (0, 0, 2 * int(file.name)), 50 + k, **own)
    assert said in refusal(tmp_path / "s")


def test_what_differs_between_slices_is_said(tmp_path):
    folder = dicom_folder(tmp_path / "s")
    dicom_slice(folder / "x", (0, 0, 99), ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    assert "(2 orientations)" in refusal(folder)
    dicom_slice(folder / "y", (0, 0, 99), PixelSpacing=[1, 1])
    assert "(2 spacings, 2 orientations)" in refusal(folder)

"""What is found in folders and lists, as data sets lie on disks."""

import json
from pathlib import Path

import pytest

from monai_medaug.scans import ScanError
from monai_medaug.scans.dataset import find_cases, with_labels
from tests.scan_files import dicom_folder


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(folder: Path, content: dict, *names: str) -> Path:
    (touch(folder, *names) / "dataset.json").write_text(json.dumps(content), encoding="utf-8-sig")
    return folder


def names(cases) -> list[str]:
    return [case.name for case in cases]


def test_a_folder_with_folders_litter_and_shared_stems(tmp_path):
    files = ("b c/x.nii.gz", "a/x.nii.gz", "x.nii", "x.nii.gz", "X.mha", "pair.hdr", "pair.img", "y.mhd", "y.raw")
    litter = ("._x.nii.gz", "__MACOSX/a/x.nii", ".git/x.nii", "preview.png", "notes.txt", "a/.unfinished-1/x.nii.gz")
    touch(tmp_path, *files, *litter, "out/x.nii.gz")
    cases = find_cases(tmp_path, [tmp_path / "out"])
    assert names(cases) == ["X.mha", "a/x", "b c/x", "pair", "x.nii", "x.nii.gz", "y"]
    assert [case.key for case in cases][2] == "b c/x.nii.gz"
    assert cases[2].images == (tmp_path / "b c/x.nii.gz",)


def test_pictures_are_scans_where_there_is_nothing_else(tmp_path):
    touch(tmp_path, "a/1.png", "a/2.JPG", "text.md")
    assert names(find_cases(tmp_path)) == ["a/1", "a/2"]
    assert find_cases(touch(tmp_path / "no", "text.md")) is None


def test_a_dicom_folder_is_one_scan_and_its_parent_many(tmp_path):
    for name in ("1.2.840/ser.1", "1.2.840/ser.2"):
        dicom_folder(tmp_path / name, [(0.0, 0.0, 0.0)])
    touch(tmp_path, "1.2.840/ser.1/mask.nii.gz")
    assert find_cases(tmp_path / "1.2.840/ser.1") is None
    cases = find_cases(tmp_path)
    assert names(cases) == ["1.2.840/ser.1", "1.2.840/ser.2"]
    assert cases[0].images == (tmp_path / "1.2.840/ser.1",)


def test_links_are_followed_and_circles_end(tmp_path):
    touch(tmp_path / "store", "x.nii")
    home = touch(tmp_path / "home", "a/y.nii")
    (home / "linked").symlink_to(tmp_path / "store")
    (home / "a/up").symlink_to(home)
    (home / "gone.nii").symlink_to(home / "nowhere")
    assert names(find_cases(home)) == ["a/y", "gone", "linked/x"]


def test_results_of_an_earlier_run_are_no_scans(tmp_path):
    touch(tmp_path, "x.nii", "out/x/augmented_001.nii.gz", "mine/z.nii", "mine/scans.json")
    (tmp_path / "out/scans.json").write_text('{\n "monai-medaug": {}}')
    assert names(find_cases(tmp_path)) == ["mine/z", "x"]


def test_decathlon(tmp_path):
    content = {
        "name": "Body",
        "modality": {"0": "CT"},
        "sources": ["a", "b"],
        "training": [{"image": f"./imagesTr/b_{k}.nii.gz", "label": f"./labelsTr/b_{k}.nii.gz"} for k in (2, 1, 1)],
        "test": ["./imagesTs/b_3.nii.gz"],
    }
    folder = listed(tmp_path, content, "imagesTr/._b_1.nii.gz", "imagesTr/b_1.nii.gz", "imagesTr/unlisted.nii.gz")
    for where in (folder, folder / "dataset.json"):
        cases = find_cases(where)
        assert names(cases) == ["imagesTr/b_1", "imagesTr/b_2", "imagesTs/b_3"]
        assert [case.subset for case in cases] == ["training", "training", "test"]
        assert cases[0].labels == {"mask": folder / "labelsTr/b_1.nii.gz"}
        assert cases[2].labels == {}


def test_lists_of_monai_and_of_the_first_nnunet(tmp_path):
    inside = str(tmp_path / "x.nii")
    items = [
        {"image": ["t1.nii", "t2.nii"], "label": 1},
        {"image": inside, "label": "y.nii"},
        {"image": "../out.nii"},
        {"image": "/etc/z.nii", "label": "y.nii"},
        {"image": "imagesTr/v.nii.gz"},
        {"image": "dicom/patient"},
    ]
    listed(tmp_path, {"validation": items}, "imagesTr/v_0000.nii.gz", "imagesTr/v_0001.nii.gz")
    cases = {case.key: case for case in find_cases(tmp_path)}
    assert [path.name for path in cases["t1.nii"].images] == ["t1.nii", "t2.nii"]
    assert cases["t1.nii"].labels == {}
    assert cases["x.nii"].labels == {"mask": tmp_path / "y.nii"}
    assert [path.name for path in cases["imagesTr/v.nii.gz"].images] == ["v_0000.nii.gz", "v_0001.nii.gz"]
    assert cases["dicom/patient"].images == (tmp_path / "dicom/patient",)
    outside = [case for case in cases.values() if case.problem]
    assert [case.key for case in outside] == ["out.nii", "z.nii"]
    assert "outside its folder" in outside[0].problem


def test_nnunet(tmp_path):
    content = {"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nrrd", "training": []}
    files = [f"imagesTr/a_{n:04d}.nrrd" for n in (0, 1)] + ["imagesTr/b_0000.nrrd", "imagesTr/._a_0000.nrrd"]
    files += [f"imagesTs/c_0_{n:04d}.nrrd" for n in (0, 1, 2)] + ["labelsTr/a.nrrd", "imagesTr/d_0000.nii.gz"]
    cases = find_cases(listed(tmp_path, content, *files))
    assert names(cases) == ["imagesTr/a", "imagesTr/b", "imagesTs/c_0"]
    assert [path.name for path in cases[0].images] == ["a_0000.nrrd", "a_0001.nrrd"]
    assert cases[0].labels == {"mask": tmp_path / "labelsTr/a.nrrd"}
    assert [case.problem for case in cases] == [
        "",
        "channel 0001 is missing",
        "it has 3 channels, and channel_names 2",
    ]
    assert cases[2].labels == {}
    content |= {"dataset": {"a": {"images": ["far/a_0000.nrrd", "far/a_0001.nrrd"], "label": "far/a.nrrd"}}}
    (case,) = find_cases(listed(tmp_path / "two", content))
    assert (case.name, len(case.images), case.labels["mask"].name) == ("far/a_0000", 2, "a.nrrd")


def test_bids(tmp_path):
    wanted = ["sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-a/anat/sub-02_ses-a_T2w.nii"]
    others = ["derivatives/x/sub-01/anat/sub-01_T1w.nii.gz", "sub-01/func/sub-01_bold.nii.gz", "sub-01/anat/x.json"]
    others += ["sub-01/anat/sub-01_defacemask.nii.gz", "sub-01/anat/sub-01_part-phase_T1w.nii.gz"]
    touch(tmp_path, *wanted, *others, "sub-01/anat/._sub-01_T1w.nii.gz", "dataset_description.json")
    assert [case.key for case in find_cases(tmp_path)] == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "dataset.json cannot be read: it is no JSON"),
        ("[]", "must hold a JSON object, got a list"),
        ('{"training": [{"img": "x.nii"}]}', "names no scans"),
        ('{"channel_names": {"0": "CT"}}', "no file that ends in _0000.nii.gz"),
    ],
)
def test_lists_that_are_none(tmp_path, text, said):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(ScanError, match=said):
        find_cases(tmp_path)


def test_labels_of_a_folder(tmp_path):
    scans = find_cases(touch(tmp_path / "scans", "a/x.nii.gz", "b/x.nii.gz", "b/y.nii", "b/z.nii"))
    masks = touch(tmp_path / "masks", "a/x.nii", "y.nii.gz", "x.nii")
    found = with_labels(scans, "mask", masks)
    assert [case.labels.get("mask") for case in found] == [masks / "a/x.nii", None, masks / "y.nii.gz", None]
    assert [bool(case.problem) for case in found] == [False, True, False, True]
    with pytest.raises(ScanError, match="--mask has no file of any scan's name"):
        with_labels(scans, "mask", touch(tmp_path / "others", "q.nii"))
    with pytest.raises(ScanError, match="--metal-mask must be a folder"):
        with_labels(scans, "metal_mask", masks / "x.nii")

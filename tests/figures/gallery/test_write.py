"""The gallery: every transform on the page, magnitudes that grow, one file that needs nothing, and nobody's data."""

import base64
import html
import io
import re
import struct
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pydicom
import pytest
import torch
from matplotlib import pyplot
from PIL import Image
from pydicom.data import get_testdata_file

from monai_medaug import transforms
from monai_medaug.core.operation import Operation, RandomOperation
from monai_medaug.figures.gallery import gallery_operations, images, rows, write, write_gallery
from monai_medaug.figures.gallery.images import gallery_image
from monai_medaug.figures.gallery.write import gallery_section
from monai_medaug.transforms import RandAffineElastic, RandHUContrast, RandMRINoise
from monai_medaug.transforms.denoise.base import NoiseRemoval
from tests.contract.cases import CASES

SIZE = 96
OPERATIONS = gallery_operations()
EASED = [name for name, cls in OPERATIONS.items() if issubclass(cls, RandomOperation) and cls.identity]
DENOISERS = [name for name, cls in OPERATIONS.items() if issubclass(cls, NoiseRemoval)]
FILES = [name for sources in images._SOURCES.values() for name, _ in sources]
LETTERS = 35_000
"""Characters on a page besides its pictures; a name of a file is looked for in them."""


@pytest.fixture
def small(monkeypatch):
    """Pictures of few pixels, so that a page is quick."""
    monkeypatch.setattr(images, "_LONGEST", SIZE)


@pytest.fixture
def without_radiograph(monkeypatch):
    def found(name, download=True):
        return None if name.startswith("RG") else get_testdata_file(name, download=False)

    monkeypatch.setattr("pydicom.data.get_testdata_file", found)


class Page(HTMLParser):
    """What a browser would find: elements in their nesting, ids, links, resources and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.sources, self.words, self.titles = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        assert tag not in ("script", "link", "iframe"), "the page must need nothing"
        assert not any(name.startswith("on") or name in ("srcset", "style") for name in attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if "href" in attributes else []
        if tag == "img":
            self.sources.append(attributes["src"])
            assert attributes["alt"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["h3"]:
            self.titles.append(data)
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def can_be_drawn(case):
    """A slice is enough, and the constructor needs nothing or what the gallery knows."""
    if 2 not in case.dims:
        return False
    try:
        write.constructed(case.cls, case.cls.gallery.arguments[0])
    except (TypeError, ValueError):
        return False
    return True


def png_chunk_names(content):
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, names = 8, set()
    while at < len(content):
        length, name = struct.unpack(">I4s", content[at : at + 8])
        names.add(name)
        at += length + 12
    return names


def panels_of(content, count=5):
    """The pictures of a row as grey values, by the layout's sizes."""
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    gap, margin = rows._GAP, rows._MARGIN
    width = (picture.shape[1] - 2 * margin - (count - 1) * gap) // count
    return [picture[rows._HEAD :, margin + n * (width + gap) :][:, :width] for n in range(count)]


def patient_data():
    """What the files say about patients, dates and identity."""
    said = set()
    for name in FILES:
        data = pydicom.dcmread(get_testdata_file(name, download=False), stop_before_pixels=True)
        for element in data.iterall():
            if element.VR in ("PN", "UI", "DA", "TM", "LO", "SH") and len(str(element.value)) > 5:
                said.add(str(element.value))
    return said


def test_every_transform_is_on_a_page_that_needs_nothing_and_names_nobody(tmp_path, small):
    files = write_gallery(tmp_path / "new" / "gallery")
    assert sorted(files) == sorted((tmp_path / "new" / "gallery").iterdir())
    text = files[0].read_text(encoding="utf-8")
    page = Page(text)
    constructible = {case.cls.__name__ for case in CASES if can_be_drawn(case)}
    assert {"HUWindow", "RandAffineElastic", "RandCTDose", "RandMRINoise"} < constructible
    if gallery_image("xray") is None:
        constructible = {name for name in constructible if gallery_section(OPERATIONS[name]) != "X-ray"}
    assert set(page.titles) == constructible
    assert len(page.titles) == len(page.sources) == len(files) - 1
    pictures = {file.stem: file.read_bytes() for file in files[1:]}
    for name, source in zip(page.titles, page.sources, strict=True):
        kind, _, content = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content) == pictures[name]
        assert png_chunk_names(pictures[name]) <= {b"IHDR", b"pHYs", b"PLTE", b"IDAT", b"IEND"}
    assert len(set(pictures.values())) == len(pictures)
    assert len(set(page.ids)) == len(page.ids)
    assert sorted(link.removeprefix("#") for link in page.links) == sorted(page.ids), "contents and page differ"
    assert "url(" not in text
    assert "@import" not in text
    assert 'name="viewport"' in text

    written = text
    for source in page.sources:
        written = written.replace(source, "")
    assert len(written) < LETTERS
    shown = " ".join(page.words)
    for private in (*FILES, str(tmp_path), *patient_data()):
        assert private not in written, f"{private!r} is on the page"
    assert not re.search(r"[\\/]\w|[.]dcm|[.]py", shown.replace("AAPM/RSNA", "")), "a path"
    for name in page.titles:
        assert f"{name}(" in shown, "no call"
    assert "The slice as it came has noise of its own" in shown, "PSNR without what it is against"
    assert "Gudbjartsson" in shown
    assert "Rician and" not in shown, "only the first line of a docstring"
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("name", EASED)
def test_the_change_grows_with_the_magnitude(name, small):
    image = gallery_image(write._SECTIONS[gallery_section(OPERATIONS[name])])
    if image is None:
        pytest.skip("pydicom-data is not installed")
    cls = OPERATIONS[name]
    operation = cls(**write._certain(cls, cls.gallery.arguments[0]))
    panels = write._magnitude_panels(operation, image.image)
    changes = [float((panel.image - image.image).abs().mean()) for panel in panels]
    assert 0 < changes[0] < changes[1] < changes[2]
    rest, full = cls.identity, panels[2].params
    for part, panel in zip((1 / 3, 2 / 3), panels, strict=False):
        for key in rest.keys() & full.keys():
            want = np.add(rest[key], part * np.subtract(full[key], rest[key]))
            np.testing.assert_allclose(panel.params[key], want, rtol=1e-9)
        other = [k for k in full if k not in rest]
        assert [panel.params[k] for k in other] == [full[k] for k in other], "not the same draw"


def test_the_draw_in_full_is_that_of_seed_0(small):
    image = gallery_image("ct").image
    for name in ("RandCTDose", "RandCTRing", "RandHUContrast"):
        cls = OPERATIONS[name]
        arguments = cls.gallery.arguments[0]
        shown = write._magnitude_panels(cls(**arguments, prob=1.0), image)[2].image
        assert torch.equal(shown, cls(**arguments, prob=1.0).set_random_state(0)(image))


def test_two_runs_give_the_same_bytes_and_the_random_state_is_left_alone(tmp_path, small):
    torch.manual_seed(0)
    np.random.seed(0)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    names = ["RandMRINoise", "RandHUWindow", "RandAffineElastic", "BilateralDenoise", "CollaborativeDenoise"]
    first, second = (write_gallery(tmp_path / str(n), names) for n in range(2))
    by_section = ["RandHUWindow", "RandMRINoise", "BilateralDenoise", "CollaborativeDenoise", "RandAffineElastic"]
    assert [f.name for f in first] == ["index.html", *(f"{name}.png" for name in by_section)]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])


def test_pixels_are_those_of_the_images_in_the_stated_window(tmp_path, small):
    """Nothing is resampled: a grey value in the row is a voxel, and each magnitude differs from the others."""
    files = write_gallery(tmp_path, ["RandMRINoise", "RandHUWindow"])
    image = gallery_image("mri")
    height = image.image.shape[2]
    panels = [p[:height] for p in panels_of(files[2].read_bytes())]
    voxels = image.image[0].numpy().T
    want = 255 * np.clip(voxels / image.window[1], 0, 1)
    assert np.abs(panels[0] - want[..., None]).max() <= 2.5  # of 256 levels, each rounded twice
    for one, other in pairwise(panels[:4]):
        assert np.abs(one - other).mean() > 2
    background = voxels < 0.02 * image.window[1]
    assert panels[4][background][:, 0].mean() > 1.5 * panels[4][background][:, 2].mean(), "the noise floor is red"
    draws = [p[: gallery_image("ct").image.shape[2]] for p in panels_of(files[1].read_bytes())]
    for one, other in pairwise(draws[1:4]):
        assert np.abs(one - other).mean() > 0.5


def test_nothing_is_written_where_drawing_fails(tmp_path, small, monkeypatch):
    draw = write.draw_row

    def failing(cls, *arguments):
        if cls is RandMRINoise:
            raise RuntimeError("no ink")
        return draw(cls, *arguments)

    write_gallery(tmp_path / "old", ["RandHUContrast"])
    before = {file.name: file.read_bytes() for file in (tmp_path / "old").iterdir()}
    monkeypatch.setattr(write, "draw_row", failing)
    for folder in ("new", "old"):
        with pytest.raises(RuntimeError, match="no ink"):
            write_gallery(tmp_path / folder, ["HUWindow", "RandHUContrast", "RandMRINoise"])
    assert not (tmp_path / "new").exists()
    assert {file.name: file.read_bytes() for file in (tmp_path / "old").iterdir()} == before


def test_a_missing_radiograph_is_said(tmp_path, small, without_radiograph):
    files = write_gallery(tmp_path, ["RandXRayScatter", "RandXRayExposure"])
    assert [f.name for f in files] == ["index.html"]
    page = Page(files[0].read_text(encoding="utf-8"))
    said = " ".join(page.words)
    assert "pydicom-data" in said
    assert "RandXRayExposure, RandXRayScatter" in said
    assert page.sources == []


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="names must be of public array transforms, got RandNothing"):
        write_gallery(tmp_path / "out", ["RandNothing", "RandCTDose"])
    assert not (tmp_path / "out").exists()


class NeedsNetwork(Operation):
    """Cannot be guessed."""

    abstract = True

    def __init__(self, network) -> None:
        super().__init__()


class Halved(Operation):
    """Half of `everything`, without < settings.

    Source: nobody.
    """

    abstract = True

    def settings(self):
        return {"share": 0.5}

    @classmethod
    def apply(cls, image, call):
        return image * call.settings["share"]


class DoubledPixels(Operation):
    """A finer grid."""

    abstract = True

    @classmethod
    def out_grid(cls, grid, params):
        return grid.resized([2 * n for n in grid.shape])

    @classmethod
    def apply(cls, image, call):
        return image.repeat_interleave(2, 2).repeat_interleave(2, 3)


class OnlyVolumes(Operation):
    """Takes no slice."""

    abstract = True
    spatial_dims = (3,)


class FlatDenoise(NoiseRemoval):
    """Takes everything away."""

    abstract = True

    def __init__(self, sigma: float | None = None, noise: str = "gaussian") -> None:
        super().__init__(sigma, noise)

    def filter_settings(self):
        return {}

    @classmethod
    def filtered(cls, image, sigma, settings, spacing, guide):
        return image.mean().expand(image.shape)


class RandTwofold(RandomOperation):
    """What it draws differs from call to call."""

    abstract = True
    identity = {"factor": 1.0, "offset": 0.0}

    def __init__(self, prob: float = 0.1) -> None:
        super().__init__(prob)

    def draw(self):
        name = ("factor", "offset")[self.R.randint(2)]
        return {name: self.R.uniform(2, 3), "seed": int(self.R.randint(9))}

    @classmethod
    def apply(cls, image, call):
        return image * call.draws[0].get("factor", 1.0) + call.draws[0].get("offset", 0.0)


def test_new_transforms_need_no_change_here(tmp_path, small, monkeypatch):
    added = [NeedsNetwork, Halved, DoubledPixels, OnlyVolumes, FlatDenoise, RandTwofold]
    for cls in added:
        monkeypatch.setattr(transforms, cls.__name__, cls, raising=False)
    monkeypatch.setattr(transforms, "__all__", [*transforms.__all__, *(c.__name__ for c in added)])
    assert not {"NeedsNetwork", "OnlyVolumes"} & gallery_operations().keys()
    files = write_gallery(tmp_path, ["DoubledPixels", "Halved", "RandTwofold"])
    text = files[0].read_text(encoding="utf-8")
    page = Page(text)
    assert page.titles == ["DoubledPixels", "Halved", "RandTwofold"]
    assert "Half of <code>everything</code>, without &lt; settings." in text
    assert "Source: nobody." in text
    assert len({gallery_section(getattr(transforms, n)) for n in page.titles}) == 1
    widths = [Image.open(f).width for f in files[1:]]
    assert widths[0] == widths[1] < widths[2], "one result, not three"
    denoised = write_gallery(tmp_path, ["FlatDenoise"])[0].read_text(encoding="utf-8")
    assert html.escape("FlatDenoise(sigma=40, noise='rician')") in denoised


def test_images_are_real_upright_and_in_their_place():
    for modality in ("ct", "mri", "xray"):
        image = gallery_image(modality)
        if image is None:
            assert modality == "xray"
            continue
        assert max(image.image.shape) == images._LONGEST
        fields = image.image.affine[:3, :2].norm(dim=0) * torch.tensor(image.image.shape[1:])
        assert image.image.meta.keys() <= {"affine", "space", "original_affine"}, "the file's meta data came along"
        if modality == "ct":
            assert float(image.image.min()) >= -1000
            assert float(image.image[0, 0].max()) < -300, "the patient touches the border"
        if modality == "xray":
            columns = image.image[0, :, 100:200].mean(1)  # the spine is brighter than the lungs beside it
            assert columns[len(columns) // 2 - 10 : len(columns) // 2 + 10].mean() > columns[60:110].mean() + 0.1
            assert (image.image.min(), image.image.max()) >= (0, 0.9)
            assert 300 < float(fields.max()) < 450, "a chest in mm"


def test_sections_follow_the_modality():
    assert {gallery_section(OPERATIONS[name]) for name in ("RandCTRing", "RandHUContrast", "HUWindow")} == {"CT"}
    assert gallery_section(OPERATIONS["RandAffineElastic"]) == [*write._SECTIONS][-1]
    assert {gallery_section(OPERATIONS[name]) for name in DENOISERS} == {"Denoising"}
    assert len(DENOISERS) >= 6
    for cls in OPERATIONS.values():
        assert cls.modality in ("", "ct", "mri", "xray")


def test_scale_of_the_difference_is_round_and_holds_the_value():
    for value in (0.013, 0.9, 1.0, 1.2, 7.6, 49, 101):
        scale = rows.round_scale(value)
        assert value * (1 - 1e-6) <= scale <= 1.7 * value
        assert len(f"{scale:g}".strip("0.").replace(".", "")) <= 2
    assert rows.round_scale(0) == 1


def test_captions_state_what_was_drawn(small):
    turned = rows.quantity_text(RandAffineElastic, "rotate_degrees", -4.71)
    assert turned == "rotated by −4.7°"
    assert rows.quantity_text(Operation, "depth_mm", [-1.234, 5e-5]) == "depth −1.23, 5e-05 mm"
    image = gallery_image("ct")
    panel = write._magnitude_panels(RandHUContrast(factor=(1.2, 1.2), prob=1.0), image.image)[1]
    assert rows._panel_caption(RandHUContrast, panel, ["factor"]) == ["contrast × 1.13"]

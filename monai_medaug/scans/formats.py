"""Formats besides NIfTI and DICOM: pictures by Pillow, MetaImage by ITK, NRRD by pynrrd."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from monai_medaug.scans.content import FileContent, header_of, one_volume
from monai_medaug.scans.error import ScanError

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
META_IMAGES = (".mha", ".mhd")
NRRDS = (".nrrd", ".nhdr")

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MODES = ("1", "F", "I", "L", "P", "RGB")
"""How Pillow's modes that may be grey begin: bits, floats, integers, luminance, palettes, channels."""

_WHITE_IS_ZERO = 0
_PHOTOMETRIC_TAG = 262


def read_picture(path: Path, what: str, labels: bool) -> FileContent:
    """A greyscale picture as (column, row), as DICOM's, in pixels of 1 mm: it doesn't state how large they are.

    Colours are refused unless all channels are equal. As a mask, the numbers of a palette are the labels.

    Raises:
        ScanError: colours, transparency, several pages, or a mask with losses of compression.
    """
    pillow = _reader("PIL.Image", "pillow", what)
    with pillow.open(path) as picture:
        if getattr(picture, "n_frames", 1) > 1:
            raise ScanError(f"{what} holds {picture.n_frames} pages or frames: give a file with one")
        if labels and picture.format in ("JPEG", "MPO"):
            raise ScanError(f"{what} is a JPEG, whose compression changes labels: give a PNG")
        if not picture.mode.startswith(_MODES):
            raise ScanError(f"{what} must be greyscale, got {picture.mode} colours")
        inverted = picture.mode.startswith("I;16") and _photometric(picture) == _WHITE_IS_ZERO
        array = _one_channel(_pixels(picture, path, labels), what)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    array = array.T
    return FileContent(array, header_of(array.shape, _TO_RAS, "aligned"), _TO_RAS, None, inverted, "none")


def _photometric(picture: Any) -> int | None:
    return picture.tag_v2.get(_PHOTOMETRIC_TAG) if hasattr(picture, "tag_v2") else None


def _pixels(picture: Any, path: Path, labels: bool) -> np.ndarray:
    """The pixels (row, column) or (row, column, channel), turned as viewers show them."""
    from PIL import ImageOps

    if picture.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile[3]) for tile in picture.tile):
        import cv2  # Pillow keeps 8 of 16 bits

        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ValueError("not decoded")
        return pixels
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("P", "PA") and not labels:
        picture = picture.convert("RGBA")
    return np.array(picture)


def _one_channel(array: np.ndarray, what: str) -> np.ndarray:
    """One of equal channels; an alpha channel of one value is dropped."""
    if array.ndim == 2:
        return array
    if array.shape[2] in (2, 4):
        if array[..., -1].min() != array[..., -1].max():
            raise ScanError(f"{what} is partly transparent: remove its alpha channel")
        array = array[..., :-1]
    spread = int(np.ptp(array.astype(np.int64), axis=2).max())
    if spread:
        raise ScanError(f"{what} must be greyscale, got colours: its channels differ by up to {spread}")
    return array[..., 0]


def read_meta_image(path: Path, what: str, labels: bool, volume: int | None) -> FileContent:
    """One volume of a MetaImage.

    Raises:
        ScanError: ITK is not installed, or no such volume.
    """
    _reader("itk", "itk", what)
    from monai.data.image_reader import ITKReader

    reader = ITKReader()
    image = reader.read(path)
    array, meta = reader.get_data(image)
    axes = len(meta["spatial_shape"])
    affine = np.eye(4)
    given = np.asarray(meta["affine"])
    affine[:axes, :axes], affine[:axes, 3] = given[:-1, :-1], given[:-1, -1]
    if axes == 2 and array.ndim > 2:
        array = array[:, :, None]
    array = one_volume(array, volume, labels, what).copy()  # of memory that belongs to ITK
    return FileContent(array, header_of(array.shape, affine), affine)


def read_nrrd(path: Path, what: str, labels: bool, volume: int | None) -> FileContent:
    """One volume of an NRRD.

    Raises:
        ScanError: pynrrd is not installed, or no such volume.
    """
    array, header = _reader("nrrd", "pynrrd", what).read(str(path))
    affine, spatial, placement = _nrrd_geometry(array.ndim, header)
    array = np.moveaxis(array, spatial, range(len(spatial)))
    if len(spatial) == 2 and array.ndim > 2:
        array = array[:, :, None]
    array = one_volume(array, volume, labels, what)
    return FileContent(array, header_of(array.shape, affine), affine, placement=placement)


def _nrrd_geometry(axes: int, header: Any) -> tuple[np.ndarray, list[int], str]:
    """The affine of an NRRD to RAS+ mm, its spatial axes, and how sure they are, see `Scan`."""
    affine = np.eye(4)
    signs = _space_signs(str(header.get("space", "")))
    if "space directions" not in header:
        spacings = np.asarray(header.get("spacings", np.ones(axes)), dtype=np.float64)
        kinds = header.get("kinds", ["domain"] * axes)
        spatial = [k for k, kind in enumerate(kinds) if kind in ("domain", "space", "???", "none")][:3]
        sizes = [spacings[k] if np.isfinite(spacings[k]) else 1.0 for k in spatial]
        affine[: len(spatial), : len(spatial)] = np.diag(sizes)
        return _TO_RAS @ affine, spatial, "guessed"
    rows = [np.full(3, np.nan) if row is None else np.asarray(row, np.float64) for row in header["space directions"]]
    spatial = [k for k, row in enumerate(rows) if np.isfinite(row).all()][:3]
    directions = np.zeros((3, len(spatial)))
    for column, k in enumerate(spatial):
        directions[: len(rows[k]), column] = rows[k]
    affine[:3, : len(spatial)] = directions
    if len(spatial) == 2:
        normal = np.cross(directions[:, 0], directions[:, 1])
        affine[:3, 2] = normal / np.linalg.norm(normal)
    origin = np.nan_to_num(np.asarray(header.get("space origin", [0.0] * 3), np.float64))
    affine[: len(origin), 3] = origin
    return np.diag(signs or [-1.0, -1.0, 1.0, 1.0]) @ affine, spatial, "stated" if signs else "guessed"


def _space_signs(space: str) -> list[float] | None:
    """The diagonal from an NRRD space to RAS+; None for one that doesn't tell how the patient lies.

    Example:
        >>> _space_signs("left-posterior-superior"), _space_signs("RAS"), _space_signs("scanner-xyz")
        ([-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], None)
    """
    words = space.upper().split("-")
    letters = "".join(word[:1] for word in words[:3]) if len(words) >= 3 else words[0][:3]
    if len(letters) != 3 or any(letter not in pair for letter, pair in zip(letters, ("RL", "AP", "SI"), strict=True)):
        return None
    return [*(1.0 if letter in "RAS" else -1.0 for letter in letters), 1.0]


def _reader(module: str, package: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ScanError(f"{what} needs the package {package} to be read: pip install {package}") from None

"""What happens in an MR scanner, on magnitude images: field, noise, motion, ghosts, lines left out, thick slices."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from monai.apps.reconstruction.transforms.array import RandomKspaceMask
from monai.data import MetaTensor
from monai.networks.blocks.fft_utils_t import fftn_centered_t
from monai.transforms import RandBiasField, RandRicianNoise, RandSimulateLowResolution

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.transforms import (
    RandMRIBiasField,
    RandMRIGhosting,
    RandMRIMotion,
    RandMRINoise,
    RandMRIUndersampling,
    RandThickSlice,
)
from tests.benchmarks.harness import Call, Row
from tests.benchmarks.peers import ellipsoid, medaugmentx, monai, ours, size, torchio

VOLUME, PLANES = (128,) * 3, ((256,) * 2, (512,) * 2)
MEAN, SNR = 100, 20
MOVE = 5
GHOSTS, GHOSTING, CENTRE = 4, 0.5, 0.02
ACCELERATION, KEPT = 4, 0.08
THICKNESS = 4


def signal(shape: tuple[int, ...]) -> torch.Tensor:
    """Magnitude image of foreground mean 100."""
    return ellipsoid(shape, MEAN - 10, 0.0, 20)


def kspace_mask(shape: tuple[int, ...]) -> Call:
    """Through MONAI's k-space mask, whose users have k-space: the way there is included."""
    transform = RandomKspaceMask([KEPT], [ACCELERATION], spatial_dims=len(shape)).set_random_state(0)
    image = MetaTensor(signal(shape))

    def call() -> object:
        complex_image = torch.view_as_real(torch.complex(image.as_tensor(), torch.zeros(())))
        return transform(fftn_centered_t(complex_image, len(shape)))[1]

    return call


def bias(shape: tuple[int, ...], target: float | None = None) -> Iterator[Row]:
    image, name = signal(shape), f"bias field, {size(shape)}"

    def mine() -> Call:
        return ours(RandMRIBiasField(peak_to_peak=0.4, prob=1.0), image)

    yield Row(name, "TorchIO 2", lambda: torchio("BiasField", image), mine, target)
    yield Row(name, "MONAI RandBiasField", lambda: monai(RandBiasField(prob=1.0), image), mine)
    yield Row(name, "MedAugmentX", lambda: medaugmentx(image, BiasField={"alpha": 0.2}), mine)


def noise(shape: tuple[int, ...], target: float | None = None) -> Iterator[Row]:
    image, name, std = signal(shape), f"Rician noise, {size(shape)}", MEAN / SNR

    def mine() -> Call:
        return ours(RandMRINoise(snr=SNR, prob=1.0), image)

    rician = RandRicianNoise(prob=1.0, std=std, sample_std=False)
    yield Row(name, "TorchIO 2", lambda: torchio("Noise", image, std=std, rician=True), mine, target)
    yield Row(name, "MONAI RandRicianNoise", lambda: monai(rician, image), mine)
    yield Row(name, "MedAugmentX", lambda: medaugmentx(image, RicianNoise={"std": std}), mine)


def motion(shape: tuple[int, ...], target: float | None = None) -> Iterator[Row]:
    image, name = signal(shape), f"k-space motion, 2 movements, {size(shape)}"

    def mine() -> Call:
        return ours(RandMRIMotion(translate_mm=MOVE, rotate_degrees=MOVE, movements=2, prob=1.0), image)

    def theirs() -> Call:
        return torchio("Motion", image, degrees=MOVE, translation=MOVE, num_transforms=2)

    average = {"degrees": MOVE, "translation": MOVE, "num_movements": 2}
    yield Row(name, "TorchIO 2", theirs, mine, target)
    yield Row(f"{name}, torch alone", "TorchIO 2", theirs, mine, within=torch_only)
    yield Row(name, "MedAugmentX mean of poses", lambda: medaugmentx(image, MRIMotion=average), mine)


def ghosting(shape: tuple[int, ...], target: float | None = None) -> Iterator[Row]:
    """Along each phase axis, as the strides differ; MedAugmentX has the last two."""
    image = signal(shape)
    for axis in range(len(shape)):
        name = f"ghosting along axis {axis}, {size(shape)}"

        def mine(axis: int = axis) -> Call:
            arguments = {"ghosts": GHOSTS, "intensity": GHOSTING, "centre_fraction": CENTRE, "phase_axis": axis}
            return ours(RandMRIGhosting(**arguments, prob=1.0), image)

        def theirs(axis: int = axis) -> Call:
            return torchio("Ghosting", image, num_ghosts=GHOSTS, intensity=GHOSTING, restore=CENTRE, axes=(axis,))

        yield Row(name, "TorchIO 2", theirs, mine, target)
        if axis >= len(shape) - 2:
            copies = {"num_ghosts": GHOSTS - 1, "phase_encode_axis": "yx"[axis - len(shape) + 2]}
            peer = "MedAugmentX rolled copies"
            yield Row(name, peer, lambda copies=copies: medaugmentx(image, GhostingArtifact=copies), mine)


def undersampling(shape: tuple[int, ...]) -> Iterator[Row]:
    image, name = signal(shape), f"undersampling × {ACCELERATION}, {size(shape)}"

    def mine() -> Call:
        transform = RandMRIUndersampling(ACCELERATION, KEPT, phase_axis=len(shape) - 1, prob=1.0)
        return ours(transform, image)

    dropout = {"dropout_fraction": 1 - 1 / ACCELERATION, "phase_encode_axis": "x"}
    yield Row(name, "MONAI RandomKspaceMask", lambda: kspace_mask(shape), mine)
    yield Row(name, "MedAugmentX KSpaceDropout", lambda: medaugmentx(image, KSpaceDropout=dropout), mine)


def thick_slice(shape: tuple[int, ...], target: float | None = None) -> Iterator[Row]:
    """Ours with the slice profile; MONAI and MedAugmentX thicken along all axes."""
    image = signal(shape)
    zoom = (1 / THICKNESS,) * 2
    for axis in range(len(shape)):
        name = f"thick slice along axis {axis}, {size(shape)}"

        def mine(axis: int = axis) -> Call:
            return ours(RandThickSlice(thickness_mm=THICKNESS, axis=axis, prob=1.0), image)

        def theirs(axis: int = axis) -> Call:
            return torchio("Anisotropy", image, axes=(axis,), downsampling=THICKNESS)

        yield Row(name, "TorchIO 2 Anisotropy", theirs, mine, target)
    low = RandSimulateLowResolution(prob=1.0, zoom_range=zoom)
    yield Row(name, "MONAI low resolution", lambda: monai(low, image), mine)
    yield Row(
        name, "MedAugmentX low resolution", lambda: medaugmentx(image, SimulateLowResolution={"zoom_range": zoom}), mine
    )


def rows() -> Iterator[Row]:
    """128³ with the targets, 256² and 512² without."""
    yield from bias(VOLUME, 0.6)
    yield from noise(VOLUME, 0.85)
    yield from motion(VOLUME, 0.6)
    yield from ghosting(VOLUME, 0.5)
    yield from undersampling(VOLUME)
    yield from thick_slice(VOLUME, 1.2)
    for plane in PLANES:
        for part in (bias, noise, motion, ghosting, undersampling):
            yield from part(plane)

"""Parallel-beam projection and filtered back-projection, in one geometry for all.

256 views evenly over 180°, as many detector elements as the slice has columns, of a pixel's width, and the ramp filter.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from monai_medaug.functional.ct.projection import ParallelBeam
from tests.benchmarks.harness import Call, Row
from tests.benchmarks.peers import size

VIEWS, SLICES = 256, 16


def slices(side: int, count: int) -> np.ndarray:
    """Discs with a texture, within the circle that is seen from everywhere, (count, side, side) in float32."""
    y, x = np.indices((side, side)) - (side - 1) / 2
    inside = np.hypot(y, x) < side / 2 - 1
    return np.random.default_rng(0).random((count, side, side), dtype=np.float32) * inside


def beam_of(side: int) -> ParallelBeam:
    return ParallelBeam((side, side), views=VIEWS, detectors=side)


def ours(side: int, count: int, reconstruct: bool) -> Call:
    beam, image = beam_of(side), torch.from_numpy(slices(side, count))[:, None]
    if not reconstruct:
        return lambda: beam.project(image)
    sinogram = beam.project(image)
    return lambda: beam.fbp(sinogram)


def scikit_image(side: int, reconstruct: bool) -> Call:
    from skimage.transform import iradon, radon

    image, theta = slices(side, 1)[0], np.rad2deg(beam_of(side).angles)
    if not reconstruct:
        return lambda: radon(image, theta, circle=True)
    sinogram = radon(image, theta, circle=True)
    return lambda: iradon(sinogram, theta, filter_name="ramp", circle=True)


def astra(side: int, count: int, reconstruct: bool) -> Call:
    """Its CPU projector by the same method as ours ("linear" is Joseph's), slice by slice; set up once."""
    import astra as toolbox

    volume = toolbox.create_vol_geom(side, side)
    rays = toolbox.create_proj_geom("parallel", 1.0, side, beam_of(side).angles)
    projector = toolbox.create_projector("linear", rays, volume)

    picture, sinogram = toolbox.data2d.create("-vol", volume), toolbox.data2d.create("-sino", rays)
    given, wanted = (sinogram, picture) if reconstruct else (picture, sinogram)
    names = ("ReconstructionDataId", "ProjectionDataId") if reconstruct else ("VolumeDataId", "ProjectionDataId")
    recipe = toolbox.astra_dict("FBP" if reconstruct else "FP")
    recipe |= {"ProjectorId": projector, names[0]: picture, names[1]: sinogram}
    algorithm = toolbox.algorithm.create(recipe)

    def one(data: np.ndarray) -> np.ndarray:
        toolbox.data2d.store(given, data)
        toolbox.algorithm.run(algorithm)
        return toolbox.data2d.get(wanted)

    images = slices(side, count)
    if reconstruct:
        images = ours(side, count, False)()[:, 0].numpy()
    return lambda: [one(image) for image in images]


def rows() -> Iterator[Row]:
    """256² and 512² one slice at a time, then a stack, whose figures are a slice's."""
    for side in (256, 512):
        for reconstruct, verb in ((False, "Radon"), (True, "FBP")):
            name = f"{verb}, {VIEWS} views, {size((side, side))}"

            def mine(side: int = side, reconstruct: bool = reconstruct) -> Call:
                return ours(side, 1, reconstruct)

            yield Row(name, "scikit-image", lambda s=side, r=reconstruct: scikit_image(s, r), mine, 0.35)
            yield Row(name, "ASTRA, CPU", lambda s=side, r=reconstruct: astra(s, 1, r), mine, 1.0)
    for reconstruct, verb in ((False, "Radon"), (True, "FBP")):
        yield Row(
            f"{verb}, {VIEWS} views, 256², a slice of {SLICES}",
            "ASTRA, CPU",
            lambda r=reconstruct: astra(256, SLICES, r),
            lambda r=reconstruct: ours(256, SLICES, r),
            0.5,
            keys=SLICES,
        )

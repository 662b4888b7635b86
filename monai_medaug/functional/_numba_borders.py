"""Compiled loops: where a label map holds borders."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit()
def block_kinds(volume, size, kinds):
    """Fill ``kinds`` (Z, Y, X), one for each block of a volume: 0 if it is all 0, 1 all another label, 2 mixed."""
    nz, ny, nx = volume.shape
    for bz in range(kinds.shape[0]):
        for by in range(kinds.shape[1]):
            for bx in range(kinds.shape[2]):
                z0, y0, x0 = bz * size[0], by * size[1], bx * size[2]
                first, one = volume[z0, y0, x0], True
                for z in range(z0, min(z0 + size[0], nz)):
                    for y in range(y0, min(y0 + size[1], ny)):
                        for x in range(x0, min(x0 + size[2], nx)):
                            one &= volume[z, y, x] == first
                    if not one:
                        break
                kinds[bz, by, bx] = 2 if not one else int(first != 0)


@njit()
def border_voxels(volume, blocks, size, found):
    """List the labelled voxels of blocks that have a face neighbour of another label; returns how many there are.

    Rows (block, z, y, x) of ``found``, by block, label and position.
    """
    nz, ny, nx = volume.shape
    own = np.empty(size[0] * size[1] * size[2], volume.dtype)
    place = np.empty((len(own), 3), np.int64)
    total = 0
    for b in range(len(blocks)):
        z0, y0, x0 = blocks[b]
        count = 0
        for z in range(z0, min(z0 + size[0], nz)):
            for y in range(y0, min(y0 + size[1], ny)):
                for x in range(x0, min(x0 + size[2], nx)):
                    label = volume[z, y, x]
                    if label != 0 and (
                        volume[max(z - 1, 0), y, x] != label
                        or volume[min(z + 1, nz - 1), y, x] != label
                        or volume[z, max(y - 1, 0), x] != label
                        or volume[z, min(y + 1, ny - 1), x] != label
                        or volume[z, y, max(x - 1, 0)] != label
                        or volume[z, y, min(x + 1, nx - 1)] != label
                    ):
                        own[count] = label
                        place[count, 0], place[count, 1], place[count, 2] = z, y, x
                        count += 1
        done = 0
        while done < count:
            least = own[0]
            for i in range(count):  # the least label that is left; those listed have become 0
                if own[i] != 0 and (least == 0 or own[i] < least):
                    least = own[i]
            for i in range(count):
                if own[i] == least:
                    found[total, 0] = b
                    for axis in range(3):
                        found[total, 1 + axis] = place[i, axis]
                    own[i] = 0
                    total += 1
                    done += 1
    return total

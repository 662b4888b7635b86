"""The decorator of the compiled modules. It imports numba: only modules named ``_numba_*`` may import it.

They copy arrays by loops: the assignment of one to a slice costs two seconds of compilation in each process.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numba


def njit(**options):
    """``numba.njit`` with a disk cache; without one where no folder can be written."""

    def decorate(function):
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:
            return numba.njit(nogil=True, **options)(function)

    return decorate

"""The mechanism of all operations; it knows nothing of any phenomenon."""

from monai_medaug.core import arguments

__all__ = ["arguments"]

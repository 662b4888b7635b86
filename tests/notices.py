"""A fresh start for notices, which are said once."""

from monai_medaug.core import notices, tensors


def unsaid() -> None:
    """Let every notice be said again."""
    tensors._said.clear()
    notices.forget_notices()

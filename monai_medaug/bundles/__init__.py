"""MONAI bundles of restoration networks that run as they are, and their weights in one line."""

from monai_medaug.bundles.pretrained import PRETRAINED, load_pretrained

__all__ = ["PRETRAINED", "load_pretrained"]

"""The gallery: what every transform does to a real image."""

from monai_medaug.figures.gallery.write import gallery_operations, write_gallery

__all__ = ["gallery_operations", "write_gallery"]

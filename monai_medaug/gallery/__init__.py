"""The gallery: what every transform does to a real image."""

from monai_medaug.gallery import images, page, restoration, rows, write
from monai_medaug.gallery.write import gallery_operations, write_gallery

__all__ = ["gallery_operations", "images", "page", "restoration", "rows", "write", "write_gallery"]

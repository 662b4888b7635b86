"""Kernels of image quality: tensors in, one figure an image out."""

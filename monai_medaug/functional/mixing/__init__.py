"""Kernels of mixing the samples of a batch."""

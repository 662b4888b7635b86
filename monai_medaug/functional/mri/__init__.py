"""Kernels of MRI: receive coil, k-space, motion."""

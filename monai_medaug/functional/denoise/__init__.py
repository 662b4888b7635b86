"""Kernels of denoising."""

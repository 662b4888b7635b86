"""Kernels of noise: drawing it, estimating its level, stabilising its variance."""

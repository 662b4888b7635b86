"""Kernels of noise: drawn, estimated, stabilised."""

"""Kernels: pure functions on tensors (B, C, *spatial), with per-sample parameters. Nothing here knows MONAI."""

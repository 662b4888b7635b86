"""Kernels of adversarial augmentation."""

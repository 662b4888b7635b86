"""Kernels of geometry: voxel grids, deformations that do not fold, warps, resolution."""

"""Mixing the samples of a batch."""

"""Whole augmentations by modality."""

"""MRI operations."""

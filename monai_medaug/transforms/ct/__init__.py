"""CT operations."""

"""Verdicts on anatomy and pathology, and a container that enforces them."""

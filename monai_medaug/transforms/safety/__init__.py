"""Verdicts on anatomy and pathology, and what holds to them."""

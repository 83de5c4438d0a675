"""Measures what weight sets are worth, on held-out pictures and on clips."""

"""Sizes: integers, and formulas of free ones."""

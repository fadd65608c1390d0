"""The standard library: plans, as package data."""

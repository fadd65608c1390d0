"""Functions of numbers as expressions."""

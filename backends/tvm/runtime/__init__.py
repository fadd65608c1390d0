"""What runs a compiled plan; needs no compiler."""

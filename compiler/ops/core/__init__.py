"""What operators are made of: their base, rules of shapes, and helpers that several share."""

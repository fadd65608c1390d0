"""From TIR to machine code, and what is kept of it."""

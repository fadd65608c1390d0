"""Tensors and statements of TIR, written as Python."""

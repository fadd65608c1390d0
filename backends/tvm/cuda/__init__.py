"""Kernels for NVIDIA's GPUs: the same tensors as for a processor, written for threads."""

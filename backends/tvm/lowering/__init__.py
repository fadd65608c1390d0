"""From a deployed graph to a program and its kernels."""

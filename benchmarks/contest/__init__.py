"""What the benchmarks that compare runtimes share: cases, contestants, fresh processes, and figures."""

"""The typed graph, and what is asked of it."""

"""Pictures of graphs and memory."""

"""What a graph costs: parameters, operations, bytes."""

"""From a graph to something that runs."""

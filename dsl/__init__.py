"""From text to a graph: source, diagnostics, syntax, elaboration, formatting."""

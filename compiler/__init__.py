"""Sizes, operators, graphs, passes and cost: knows neither text nor any backend."""

"""Graphs rewritten: rules, their order, and what becomes of weights."""

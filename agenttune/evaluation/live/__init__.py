"""Whole conversations with tools that really run: cases, the same loop as chat's, judgements, rates."""

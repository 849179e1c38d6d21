"""The processes in which tools work, and what ends them."""

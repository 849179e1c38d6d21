"""The screen of a terminal: the input line stays at the bottom, everything else scrolls above it, and only the tail is drawn again."""

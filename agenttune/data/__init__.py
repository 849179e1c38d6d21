"""From raw records to packs: convert, examine, render, pack."""

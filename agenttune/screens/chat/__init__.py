"""``agenttune chat``: the REPL, its commands, the keyboard, and what a run writes while it goes on."""

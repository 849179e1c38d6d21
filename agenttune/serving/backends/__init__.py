"""What says the tokens: an engine in this process, or a server elsewhere."""

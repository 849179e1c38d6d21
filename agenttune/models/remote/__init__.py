"""Models behind an OpenAI-compatible server, spoken to like any other: by token ids where the server has them, else by messages."""

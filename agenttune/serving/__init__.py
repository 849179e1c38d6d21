"""The tuned agent behind OpenAI's protocol: one engine, one front door."""

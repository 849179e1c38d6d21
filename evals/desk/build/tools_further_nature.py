"""Further training tools: nature, science, technology."""

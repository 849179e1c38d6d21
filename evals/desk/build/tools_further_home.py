"""Further training tools: the household, the kitchen, the body, family."""

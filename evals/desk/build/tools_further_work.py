"""Further training tools: work, money, paperwork, language."""

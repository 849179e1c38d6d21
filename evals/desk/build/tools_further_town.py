"""Further training tools: town, travel, sport, culture."""

"""Full-text search over short articles, and the files they are made of."""

"""Was it right, how often, and how sure is that: suites, scores, intervals, comparisons."""

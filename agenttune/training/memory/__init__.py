"""What a run will hold in memory, before it runs: arithmetic on a model's shape."""

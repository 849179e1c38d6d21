"""``agenttune show``: records, trajectories, samples and tokens as a person reads them."""

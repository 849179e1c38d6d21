"""Training: shared prefixes, logits where they are needed, and a Trainer that resumes exactly."""

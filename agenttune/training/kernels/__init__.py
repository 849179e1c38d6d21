"""What is computed on a pack: attention over its tree, the supervised head, LoRA, norms and MLPs, compiled where a C compiler is."""

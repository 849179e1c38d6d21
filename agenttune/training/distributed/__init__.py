"""Several processes: DeepSpeed's ZeRO by name, its sharded weights seen whole, its checkpoints."""

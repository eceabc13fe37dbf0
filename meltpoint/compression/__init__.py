"""One step of a chain: a checkpoint is compressed into another."""

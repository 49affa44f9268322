"""Everything that imports torch: data, training, checkpoints, generation. Needs neither app nor worker."""

"""What tests share: data sets, checkpoints, servers and models that are made on the spot."""

"""Adapters of transformers checkpoints. Only engine/ imports torch; everything else here answers without weights."""

"""Provides the adapters of transformers checkpoints.

Only engine/ imports torch; settings and fingerprints need none.
"""

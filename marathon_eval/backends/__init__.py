"""Provides the base classes of model adapters: transformers checkpoints (hf/) and HTTP APIs (http/)."""

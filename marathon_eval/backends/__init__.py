"""What model adapters share: transformers checkpoints (hf/) and servers behind HTTP (http/)."""

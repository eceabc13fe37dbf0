"""Checkpoints as ordinary Hugging Face folders: ``python -m meltpoint.export CHECKPOINT TARGET``."""

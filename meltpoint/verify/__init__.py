"""Checks of a study's results without torch and without a model, and the bundle that carries them."""

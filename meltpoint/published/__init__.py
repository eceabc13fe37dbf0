"""Published results, checked and drawn up again."""

"""From cells to conclusions: the tidy frame, transition points and tables."""

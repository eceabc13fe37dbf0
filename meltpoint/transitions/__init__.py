"""Transition points: curves are fitted, compared, and given intervals."""

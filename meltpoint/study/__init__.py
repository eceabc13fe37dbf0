"""What a study file may say, and what follows from it."""

"""The keys of a study's file, their checks, and the resolved study with its chains and cells."""

"""The study of phase transitions: its tables, figures and transition points."""

"""The report page: every table, figure and text of a study in one file that needs nothing else."""

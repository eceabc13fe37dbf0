"""Tables of cells: built from a tidy frame, written as Markdown, LaTeX and CSV."""

"""LawBench's official scores (Fei et al., arXiv 2309.16289), written from their description."""

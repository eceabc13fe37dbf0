"""Edits of a corrected sentence, character by character, as ChERRANT computes them.

The cheapest alignments of two sentences become edits, and the edits of a prediction are compared with
those of the reference (Zhang et al., "MuCGEC", NAACL 2022).
"""

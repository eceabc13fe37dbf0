"""Edits of a corrected sentence at the level of characters, as ChERRANT has them.

Zhang et al., "MuCGEC", NAACL 2022: the cheapest alignments of two sentences become edits, and the
edits of a prediction are compared with those of the reference.
"""

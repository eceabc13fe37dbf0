"""MMLU's subjects by the groups of OpenCompass and of the operation-order study."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

SubjectName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]*$")]

STEM = (
    *("abstract_algebra", "anatomy", "astronomy", "college_biology", "college_chemistry"),
    *("college_computer_science", "college_mathematics", "college_physics", "computer_security"),
    *("conceptual_physics", "electrical_engineering", "elementary_mathematics"),
    *("high_school_biology", "high_school_chemistry", "high_school_computer_science"),
    *("high_school_mathematics", "high_school_physics", "high_school_statistics"),
    "machine_learning",
)
GROUPS = {"stem": STEM, "mmlu_law": ("international_law", "professional_law")}

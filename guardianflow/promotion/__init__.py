"""Promotion: measured, judged, shown to people, answered, and then moved or not.

    steps        propose() -> evidence, decide() -> rotation: the same two for CLI and flow
    examination  measures what would move beside what is in production, and keeps the record
    proposal     what is asked of a person                              (data)
    binding      what an approval holds for, and for nothing else
    page         the evidence page and the form, put together
    question     the question that a request puts to people: asked, answered, void or closed

Who may answer is `approval/`; what the page is made of is `evidence/`.
"""

from guardianflow.promotion.steps import (
    Decided,
    decide,
    expire,
    propose,
    rejections,
    require_may_override,
    was_decided,
)

__all__ = [
    "Decided",
    "decide",
    "expire",
    "propose",
    "rejections",
    "require_may_override",
    "was_decided",
]

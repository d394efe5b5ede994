"""Promotion: measured, judged, shown to people, answered, and then moved or not.

steps              propose() -> evidence, decide() -> rotation: the same two for CLI and flow
examination        measures what would move beside what is in production, keeps the record
proposal           what is asked of a person                              (data)
binding            what an approval holds for, and for nothing else
page, form         the evidence page and the form, put together
question           what a request asks of people: asked, answered, void or closed
recorded_messages  what was recorded in English, in the language of the floor
approval/          who may answer, and what they said
evidence/          what the page is made of
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

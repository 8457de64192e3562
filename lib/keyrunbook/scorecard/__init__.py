"""The data-protection scorecard: AWS's recommendations, judged by facts that were read. Pure.

`facts` are what was read, `rules` one function for each recommendation, `encryption` the inventory
of what each Image Builder resource is encrypted with, `card` all of it together.
Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from keyrunbook.scorecard.card import Row, Scorecard, judge
from keyrunbook.scorecard.facts import Facts, NotRead
from keyrunbook.scorecard.rules import RECOMMENDATIONS, Recommendation

__all__ = [
    "RECOMMENDATIONS",
    "Facts",
    "NotRead",
    "Recommendation",
    "Row",
    "Scorecard",
    "judge",
]

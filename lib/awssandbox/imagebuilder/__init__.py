"""EC2 Image Builder: workflows, and images as far as a build's access to its workflows goes."""

from awssandbox.imagebuilder.operations import OPERATIONS
from awssandbox.imagebuilder.state import ImageBuilderState

__all__ = ["OPERATIONS", "OWN_LIMITS", "ImageBuilderState"]

OWN_LIMITS = ("*",)
"""Every operation holds its parameters to the model's limits itself: its error is another."""

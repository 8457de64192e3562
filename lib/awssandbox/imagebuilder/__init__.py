"""EC2 Image Builder: workflows, and images as far as a build's access to its workflows goes."""

from awssandbox.imagebuilder.operations import OPERATIONS
from awssandbox.imagebuilder.state import ImageBuilderState

__all__ = ["OPERATIONS", "ImageBuilderState"]

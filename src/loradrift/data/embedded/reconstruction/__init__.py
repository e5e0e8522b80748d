"""A world of short contexts: facts of people, things and journeys, and questions about them."""

from loradrift.data.embedded.reconstruction.write import write_reconstruction

__all__ = ["write_reconstruction"]

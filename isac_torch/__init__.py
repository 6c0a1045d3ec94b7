"""Power allocation for cell-free massive MIMO that communicates and senses at once."""

__version__ = "0.1.0"

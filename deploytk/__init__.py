"""deploytk: from a trained model to a proven verdict on its target."""

__version__ = "0.1.0"

"""chainrule: neural networks for people who live in NumPy and scikit-learn."""

__version__ = "0.1.0"

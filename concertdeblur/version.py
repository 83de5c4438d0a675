"""The version of the package, for whatever writes down what it was made with."""

__version__ = "0.2.0"

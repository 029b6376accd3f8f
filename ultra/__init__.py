"""The floor: what two or more stages share. Imports nothing else of ours."""

__version__ = "0.1.0"

"""Saved ShareGPT pages and dumps to a corpus."""

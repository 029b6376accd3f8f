"""A release to a checkpoint. Imports ultra only."""

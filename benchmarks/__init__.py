"""A model to answers, judgments and a table. Imports ultra only."""

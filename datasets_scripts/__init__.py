"""Raw material to a release. Imports ultra only."""

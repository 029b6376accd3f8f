"""Opening lines to a corpus of simulated dialogues."""

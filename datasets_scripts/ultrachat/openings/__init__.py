"""Opening lines: made with a model or read, and sifted before a dialogue is paid for."""

"""Applications to copy."""

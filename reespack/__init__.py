"""reespack."""

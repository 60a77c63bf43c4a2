"""Start and end."""

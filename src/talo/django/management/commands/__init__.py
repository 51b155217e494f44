"""Where Django looks for Talo's management commands."""

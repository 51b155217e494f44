"""Where Django looks for Talo's migrations."""

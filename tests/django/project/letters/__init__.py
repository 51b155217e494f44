"""An app that uses Django's own Tasks framework."""

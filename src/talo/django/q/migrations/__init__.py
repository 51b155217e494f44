"""Tables of Django Q's way."""

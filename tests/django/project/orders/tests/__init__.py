"""The project's own tests, run with manage.py test."""

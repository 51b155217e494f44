"""A project without a celery.py: Talo is two lines of its settings."""

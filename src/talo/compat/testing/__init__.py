"""``celery.contrib.testing`` and ``celery.contrib.pytest``: apps and workers inside of tests.

Exports nothing itself; each module has the names that tests import.
"""

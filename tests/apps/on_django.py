"""Settings of a Django project that is nothing but a database, the file ``DATABASE``, in which tasks are kept."""

import os

SECRET_KEY = "of a test"
INSTALLED_APPS: list[str] = []
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}

"""Settings of the demo site. All it writes goes to ``WEBSITE_DATA``, by default the folder ``data`` beside this."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("WEBSITE_DATA", BASE_DIR / "data"))

DEBUG = True
SECRET_KEY = "only-for-the-demo-on-this-machine"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "website.urls"
WSGI_APPLICATION = "website.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = ["office"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.csrf"]},
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "website.sqlite3",
        # Site and worker write to one file: wait for each other, and take the write lock at the start of a transaction.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"},
    }
}

MEDIA_ROOT = DATA / "media"
MEDIA_URL = "/media/"
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = DATA / "mail"
DEFAULT_FROM_EMAIL = "office@example.org"

#: The exchange-rate service, slow and moody as they are.
RATES_API = os.environ.get("WEBSITE_RATES_API", "http://127.0.0.1:8001")

# Everything of Talo's has this prefix; Celery's names of the settings are Talo's.
TALO_TASK_TIME_LIMIT = 60
TALO_RESULT_EXPIRES = 3600

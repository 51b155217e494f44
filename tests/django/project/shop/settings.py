"""The settings. Tests choose the databases and Talo's settings by the environment, as JSON."""

import json
import os

SECRET_KEY = "for the tests of Talo only"
DEBUG = True
USE_TZ = True
TIME_ZONE = "Europe/Rome"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["orders", "talo.django"]
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["*"]

DATABASES = json.loads(os.environ.get("SHOP_DATABASES", "null")) or {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "shop.sqlite3",
        "OPTIONS": {"timeout": 20},
    },
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": "other.sqlite3"},
}
globals().update(json.loads(os.environ.get("SHOP_SETTINGS", "{}")))

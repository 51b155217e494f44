"""The app of a project that was written for Celery. Not a line of it changes on the way."""

from celery import Celery

app = Celery("shop")
app.config_from_object("shop.celeryconfig")

"""What tasks look for, and what they leave."""

from django.db import models


class Order(models.Model):
    """Written by the sender."""

    what = models.CharField(max_length=50)


class Note(models.Model):
    """Written by a run: the order that it was for, and whether it saw it."""

    order = models.BigIntegerField()
    seen = models.BooleanField()

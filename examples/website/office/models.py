"""What the site knows."""

from django.db import models


class Photo(models.Model):
    """An uploaded picture; the sizes are made in the background."""

    title = models.CharField(max_length=100)
    original = models.FileField(upload_to="photos")
    #: Width -> path below the media folder.
    sizes = models.JSONField(default=dict)


class Customer(models.Model):
    """Somebody who gets the newsletter."""

    name = models.CharField(max_length=100)
    email = models.EmailField(unique=True)


class Order(models.Model):
    """A sale, for the reports."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    day = models.DateField()
    amount = models.DecimalField(max_digits=10, decimal_places=2)


class Rate(models.Model):
    """The last known exchange rate of a currency."""

    currency = models.CharField(max_length=3, unique=True)
    rate = models.FloatField()

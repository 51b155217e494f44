"""A thousand customers and three years of orders, the same on every machine."""

import datetime as dt
import random

from django.db import migrations

FIRST = "Ada Bela Cem Dana Elif Fumi Gus Hana Ivo Jun Kaya Lena Milo Nour Otto Pia Quim Rosa Sam Tove".split()
LAST = "Abel Berg Costa Dahl Ekman Faber Greco Holm Ito Jansen Kaur Lind Meyer Nowak Park Quist Rossi Sato Tran".split()
CUSTOMERS, YEARS, ORDERS_A_DAY = 1000, (2023, 2024, 2025), 4


def fill(apps, schema_editor):
    dice = random.Random(7)
    people = [f"{first} {last}" for first in FIRST for last in LAST]
    customer_model, order_model = apps.get_model("office", "Customer"), apps.get_model("office", "Order")
    customer_model.objects.bulk_create(
        customer_model(pk=number, name=people[number % len(people)], email=f"customer{number}@example.org")
        for number in range(1, CUSTOMERS + 1)
    )
    order_model.objects.bulk_create(
        order_model(
            customer_id=dice.randint(1, CUSTOMERS),
            day=dt.date(year, 1, 1) + dt.timedelta(days=day),
            amount=round(dice.lognormvariate(3.5, 0.8), 2),
        )
        for year in YEARS
        for day in range(365)
        for _ in range(ORDERS_A_DAY)
    )


class Migration(migrations.Migration):
    dependencies = [("office", "0001_initial")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]

"""Uses the database while a worker starts, as careless projects do."""

from django.apps import AppConfig
from django.conf import settings

from talo import signals


class OrdersConfig(AppConfig):
    name = "orders"

    def ready(self):
        if getattr(settings, "SHOP_QUERY_AT_START", False):
            signals.celeryd_after_setup.connect(count, weak=False)


def count(**_more):
    from orders.models import Order

    Order.objects.count()

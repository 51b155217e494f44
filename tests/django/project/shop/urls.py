"""One view, which sends in its transaction."""

from django.http import JsonResponse
from django.urls import path
from orders.models import Order
from orders.tasks import note


def buy(request):
    order = Order.objects.create(what="a view's")
    return JsonResponse({"task": note.delay(order.pk).id})


urlpatterns = [path("buy/", buy)]

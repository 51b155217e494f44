"""The views: each keeps what it must keep, hands the work off and answers at once with the ids of its tasks."""

import time

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST
from website import app

from office import tasks
from office.models import Customer, Photo, Rate


@require_GET
@ensure_csrf_cookie
def front(request: HttpRequest) -> HttpResponse:
    """The page that a visitor sees."""
    return render(
        request, "office/front.html", {"photos": Photo.objects.order_by("-pk")[:24], "rates": Rate.objects.all()}
    )


@require_POST
def upload_photo(request: HttpRequest) -> JsonResponse:
    """Keep the upload; the sizes are made in the background."""
    upload = request.FILES["photo"]
    photo = Photo.objects.create(title=upload.name, original=upload)
    return _accepted([tasks.resize_photo.delay(photo.pk).id])


@require_POST
def send_newsletter(request: HttpRequest) -> JsonResponse:
    """One task for each customer, sent in one go."""
    subject, limit = request.POST["subject"], int(request.POST.get("limit", 1000))
    customers = Customer.objects.order_by("pk").values_list("pk", flat=True)[:limit]
    sent = app.send_many(tasks.send_letter.s(customer, subject) for customer in customers)
    return _accepted([task.id for task in sent])


@require_POST
def order_report(request: HttpRequest) -> JsonResponse:
    """A PDF takes seconds: nobody waits for it in a request."""
    return _accepted([tasks.build_report.delay(int(request.POST["year"])).id])


@require_POST
def refresh_rate(request: HttpRequest) -> JsonResponse:
    """Somebody else's service may be slow or down; that is no reason for this page to be."""
    return _accepted([tasks.fetch_rate.delay(request.POST["currency"].upper()[:3]).id])


@require_POST
def set_reminder(request: HttpRequest) -> JsonResponse:
    """A task for later; until then it waits in the store, not in a worker."""
    seconds = float(request.POST.get("seconds", 5))
    customer = Customer.objects.earliest("pk")
    task = tasks.remind.apply_async((customer.pk, request.POST["text"], time.time() + seconds), countdown=seconds)
    return _accepted([task.id])


@require_POST
def task_states(request: HttpRequest) -> JsonResponse:
    """What became of these tasks: ``{id: {"state": ..., "result": ...}}``."""
    return JsonResponse({task_id: _state(task_id) for task_id in request.POST.getlist("id")})


def _state(task_id: str) -> dict[str, object]:
    result = app.AsyncResult(task_id)
    state = result.state
    if state == "SUCCESS":
        return {"state": state, "result": result.result}
    return {"state": state, "error": repr(result.result)} if state == "FAILURE" else {"state": state}


def _accepted(ids: list[str]) -> JsonResponse:
    return JsonResponse({"tasks": ids}, status=202)

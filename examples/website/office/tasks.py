"""The work that no visitor should wait for. Arguments are ids and plain values; the tasks look up the rest themselves.

Each returns what came out of it and how many seconds it took, which the demo shows.
"""

import json
import time
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from PIL import Image, ImageFilter

from office.models import Customer, Photo, Rate
from office.report import write_report
from talo import shared_task

WIDTHS = (160, 640, 1280)

Outcome = dict[str, Any]


@shared_task
def resize_photo(photo_id: int) -> Outcome:
    """Make the sizes of a photo that pages use."""
    began = time.monotonic()
    photo = Photo.objects.get(pk=photo_id)
    folder = settings.MEDIA_ROOT / "sizes"
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(photo.original.path) as original:
        for width in WIDTHS:
            small = original.resize((width, width * original.height // original.width), Image.Resampling.LANCZOS)
            name = f"sizes/{photo_id}-{width}.jpg"
            small.filter(ImageFilter.UnsharpMask(radius=1)).save(settings.MEDIA_ROOT / name, quality=85, optimize=True)
            photo.sizes[str(width)] = name
    photo.save(update_fields=["sizes"])
    return {"files": list(photo.sizes.values()), "seconds": time.monotonic() - began}


@shared_task
def send_letter(customer_id: int, subject: str) -> Outcome:
    """Send the newsletter to one customer: a bad address then fails alone."""
    began = time.monotonic()
    customer = Customer.objects.get(pk=customer_id)
    send_mail(subject, render_to_string("office/letter.txt", {"customer": customer}), None, [customer.email])
    return {"to": customer.email, "seconds": time.monotonic() - began}


@shared_task(time_limit=120)
def build_report(year: int) -> Outcome:
    """Write the year's sales as a PDF."""
    began = time.monotonic()
    name, pages = write_report(year)
    return {"files": [name], "pages": pages, "seconds": time.monotonic() - began}


@shared_task(bind=True, autoretry_for=(urllib.error.URLError, TimeoutError), retry_backoff=1, max_retries=5)
def fetch_rate(self: Any, currency: str) -> Outcome:
    """Ask the slow service for a rate. When it is out of order, the task comes back a little later."""
    began = time.monotonic()
    with urllib.request.urlopen(f"{settings.RATES_API}/{currency}", timeout=10) as answer:
        rate = json.load(answer)["rate"]
    Rate.objects.update_or_create(currency=currency, defaults={"rate": rate})
    return {"rate": rate, "attempts": self.request.retries + 1, "seconds": time.monotonic() - began}


@shared_task
def remind(customer_id: int, text: str, due: float) -> Outcome:
    """Write to a customer at the time that was asked for."""
    began, now = time.monotonic(), time.time()
    customer = Customer.objects.get(pk=customer_id)
    send_mail("A reminder", text, None, [customer.email])
    return {"to": customer.email, "late": now - due, "seconds": time.monotonic() - began}

"""Where the views are."""

from django.conf import settings
from django.conf.urls.static import static
from django.urls import path
from office import views

urlpatterns = [
    path("", views.front),
    path("photos/", views.upload_photo),
    path("newsletter/", views.send_newsletter),
    path("reports/", views.order_report),
    path("rates/", views.refresh_rate),
    path("reminders/", views.set_reminder),
    path("tasks/", views.task_states),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]

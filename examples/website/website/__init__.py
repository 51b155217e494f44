"""The site. Importing it makes the queue's app the current one: ``@shared_task`` finds it in site and worker alike."""

from website.queue import app

__all__ = ["app"]

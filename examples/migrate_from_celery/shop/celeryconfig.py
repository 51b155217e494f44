"""Read by Celery and by Talo, at every stage of the move."""

import os

broker_url = os.environ.get("SHOP_REDIS", "redis://localhost:6379/0")
result_backend = broker_url
imports = ["shop.tasks"]
task_acks_late = True
result_extended = True

#: The tasks that have moved to Talo. Talo reads this; Celery does not know it.
task_cutover = [name for name in os.environ.get("SHOP_MOVED", "").split(",") if name]
#: So Celery's own processes are told in their words. `talo -A shop.celery migrate routes` prints it.
task_routes = {name: {"queue": "talo.celery"} for name in task_cutover}

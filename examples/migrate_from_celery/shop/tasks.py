"""The project's tasks. Each says who ran it, so that the move can be watched."""

from shop.celery import app


@app.task(bind=True)
def total(self, prices):
    """Add up an order."""
    return {"sum": sum(prices), "by": self.request.hostname}


@app.task(bind=True, max_retries=3)
def letter(self, order, fails=0):
    """Write to the customer; the printer is out of paper now and then."""
    if self.request.retries < fails:
        raise self.retry(countdown=0.1)
    return {"text": f"You owe us {order['sum']}.", "by": self.request.hostname, "after": order["by"]}


@app.task(bind=True)
def summary(self, letters):
    """Count what was written."""
    return {"letters": len(letters), "by": self.request.hostname, "after": sorted({each["by"] for each in letters})}

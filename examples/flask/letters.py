"""A Flask site that hands off slow letters: the factory pattern, progress, and a worker by ``flask talo worker``."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, current_app, jsonify, request

from talo.flask import Talo

talo = Talo()


@talo.task(bind=True)
def write_letters(self: Any, names: list[str]) -> list[str]:
    """Writes one letter after the other; ``current_app`` is there as in a request."""
    letters = []
    for name in names:
        time.sleep(current_app.config["SECONDS_PER_LETTER"])
        letters.append(f"Dear {name}, yours {current_app.config['SENDER']}")
        self.update_state(state="PROGRESS", meta={"done": len(letters), "of": len(names)})
    return letters


def create_app(**config: Any) -> Flask:
    """The application factory."""
    app = Flask(__name__)
    app.config.update(SENDER="Talo", SECONDS_PER_LETTER=0.2, TALO={"task_time_limit": 60})
    app.config.update(config)
    talo.init_app(app)

    @app.post("/letters")
    def order() -> Any:
        result = write_letters.delay(request.get_json()["names"])
        return jsonify(id=result.id), 202

    @app.get("/letters/<task_id>")
    def look(task_id: str) -> Any:
        result = talo.AsyncResult(task_id)
        if result.successful():
            return jsonify(state=result.state, letters=result.get())
        return jsonify(state=result.state, progress=result.info if result.state == "PROGRESS" else None)

    return app

"""What users' type checkers say about tasks. A line that must be refused ends in a comment E and the reason."""

from typing import Any

from talo import AsyncResult, Secret, Talo, Task, shared_task

app = Talo("typing", broker="memory://typing")


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task(max_retries=5)
def shout(text: str, *, times: int = 1) -> str:
    return text.upper() * times


@app.task(bind=True, ignore_result=True)
def whoami(self: Task[..., Any], suffix: str) -> str:
    return f"{self.request.id}{suffix}"


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@shared_task
def double(x: float) -> float:
    return 2 * x


@shared_task(bind=True)
def nested(self: Task[..., Any], x: float) -> list[float]:
    return [x]


@app.task
def log_in(user: str, word: Secret[str]) -> str:
    return user + word.upper()


a: AsyncResult[int] = add.delay(1, 2)
log_in.delay("ada", "correct horse")
log_in.s("ada", word="correct horse")
log_in.delay("ada", 4711)  # E: a secret text is a text
b: int = add.delay(1, 2).get()
c: int = add(1, 2)
d: str = shout.delay("x", times=2).get(timeout=3)
e: str = whoami.delay("x").get()
f: bytes = fetch.delay("http://x").get()
g: float = double.delay(1.5).get()
h: list[float] = nested.delay(1.5).get()
i: AsyncResult[int] = add.apply_async((1, 2), countdown=3)
j: int = add.apply((1, 2)).get()


async def twins() -> None:
    k: int = await add.delay(1, 2)
    m: AsyncResult[int] = await add.adelay(1, 2)
    n: bytes = await fetch("http://x")
    print(k, m, n)


add.delay("x", 2)  # E: text for a number
add.delay(1)  # E: an argument is missing
add.delay(1, 2, 3)  # E: one too many
add.delay(1, z=2)  # E: no such argument
shout.delay("x", times="2")  # E: text for a number
whoami.delay(1)  # E: a number for text; the task itself is not counted
double.delay("1")  # E: text for a number
nested.delay("1")  # E: text for a number
wrong: str = add.delay(1, 2).get()  # E: the result is a number
wrong_too: AsyncResult[str] = add.delay(1, 2)  # E: the result is a number
never: str = fetch.delay("x").get()  # E: the result is what the coroutine returns
add("x", 2)  # E: calling it is checked like sending it

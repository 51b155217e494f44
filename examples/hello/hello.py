from talo import Talo

app = Talo("hello")


@app.task
def add(x: int, y: int) -> int:
    return x + y


if __name__ == "__main__":
    print(add.delay(2, 3).get(timeout=10))

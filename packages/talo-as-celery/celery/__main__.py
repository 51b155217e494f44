"""The ``celery`` command, and ``python -m celery``."""

from talo.compat.commands import main

if __name__ == "__main__":
    main()

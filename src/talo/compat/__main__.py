"""``python -m talo.compat COMMAND...``: any Python program with Talo as its ``celery``.

Owns nothing; see ``compat.programs``.
"""

from talo.compat.programs import main

if __name__ == "__main__":
    main()

"""``python -m talo``: the command without its script."""

from talo.cli.main import main

if __name__ == "__main__":
    main()

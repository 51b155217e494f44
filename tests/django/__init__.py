"""Talo in a Django project. Everything that imports Django runs in processes of its own: it is set up once in each."""

"""Talo in a Django project: put ``"talo.django"`` into ``INSTALLED_APPS``.

The project's app is made from Django's settings, tasks of all installed apps are found, a send inside ``atomic()`` goes
out at its commit, database connections are cared for, and ``manage.py talo`` runs every command. This package imports
nothing by itself: Django imports ``apps`` when it is ready for it.
"""

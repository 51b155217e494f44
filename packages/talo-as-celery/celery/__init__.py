"""Talo under the name of Celery: the first import puts the alias in place, which takes this module's name over."""

__talo_alias__ = True

from talo.compat.install import install_as_celery

install_as_celery()
import celery  # noqa: E402,F401

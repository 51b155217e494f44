"""Keeping tasks: the contract in ``base``, one package for each technology, chosen by URL in ``url``."""

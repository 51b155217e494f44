"""Talo and its peers side by side on one machine, in one run: ``make bench``, or ``python -m bench --help``.

``counter`` is how tasks report, ``peers`` is what differs between the libraries, ``lab`` starts and weighs processes,
``measures`` says what is measured and how, ``report`` writes it down. Nothing here is part of the package.
"""

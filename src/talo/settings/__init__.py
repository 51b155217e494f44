"""Settings: the table, the values of one app, and where they come from."""

from talo.settings._kinds import Kind
from talo.settings._option import Option, Same, Status
from talo.settings.conf import Layer, Settings, register_option
from talo.settings.load import check
from talo.settings.options import OLD_NAMES, OPTIONS, real_name
from talo.settings.secret import SafeURL, hide_password

__all__ = [
    "OLD_NAMES",
    "OPTIONS",
    "Kind",
    "Layer",
    "Option",
    "SafeURL",
    "Same",
    "Settings",
    "Status",
    "check",
    "hide_password",
    "real_name",
    "register_option",
]

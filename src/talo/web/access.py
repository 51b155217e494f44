"""Who may come in: users with passwords, tokens, a trusted reverse proxy, an OAuth/OIDC provider.

Owns the access file (TOML) and the rules of who is whom; nothing here knows HTTP. Made by the command line or the
application, asked by ``guard``, ``login`` and ``oidc``."""

from __future__ import annotations

import functools
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from talo.errors import ImproperlyConfigured
from talo.web.passwords import hash_password, is_hash, matches_password, matches_token
from talo.web.user import Role, User

__all__ = ["Access", "Oidc", "Password", "Proxy", "Token"]

_Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


class Password(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A user who logs in with a password."""

    password: str
    role: str = "viewer"


class Token(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A program that sends ``Authorization: Bearer``."""

    hash: str
    role: str = "viewer"


class Proxy(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A reverse proxy that has logged its users in and names them in a header."""

    header: str
    #: Addresses or networks of the proxy itself; from anybody else the header counts for nothing.
    trusted: list[str]
    #: Of who is not in ``roles``; empty: they may not come in.
    role: str = ""
    roles: dict[str, str] = {}


class Oidc(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A provider of OpenID Connect, found by its discovery document."""

    issuer: str
    client_id: str
    #: The environment variable that holds the client's secret.
    client_secret_env: str = "TALO_DASHBOARD_OIDC_SECRET"
    #: E-mail addresses, and domains as ``@example.com``. Compared whole.
    allowed: list[str]
    role: str = "viewer"
    #: By e-mail address.
    roles: dict[str, str] = {}
    #: What the button says.
    name: str = "single sign-on"

    @property
    def client_secret(self) -> str:
        """The client's secret."""
        return os.environ.get(self.client_secret_env, "")


class _File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    users: dict[str, Password] = {}
    tokens: dict[str, Token] = {}
    proxy: Proxy | None = None
    oidc: Oidc | None = None


class Access:
    """The rules. Without any of them nobody has to log in: ``open``."""

    def __init__(
        self,
        *,
        users: Mapping[str, Password] | None = None,
        tokens: Mapping[str, Token] | None = None,
        proxy: Proxy | None = None,
        oidc: Oidc | None = None,
    ) -> None:
        """``ImproperlyConfigured`` for rules that cannot work, one line that names the entry."""
        self.users = dict(users or {})
        self.tokens = dict(tokens or {})
        self.proxy = proxy
        self.oidc = oidc
        self._networks: _Networks = ()
        self._check()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Access:
        """Read an access file. ``ImproperlyConfigured`` if it cannot be read, makes no sense or lets nobody in."""
        try:
            text = Path(path).read_text()
            found = msgspec.convert(tomllib.loads(text), _File)
        except OSError as error:
            raise ImproperlyConfigured(f"{path} cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise ImproperlyConfigured(f"{path} is no access file: {error}") from error
        access = cls(users=found.users, tokens=found.tokens, proxy=found.proxy, oidc=found.oidc)
        if access.open:
            raise ImproperlyConfigured(f"{path} lets nobody in: it has no users, tokens, proxy or oidc")
        return access

    @classmethod
    def of_password(cls, password: str, name: str = "admin") -> Access:
        """One administrator with this password."""
        return cls(users={name: Password(password=hash_password(password), role="admin")})

    @property
    def open(self) -> bool:
        """Nobody has to log in."""
        return not (self.users or self.tokens or self.proxy or self.oidc)

    def __str__(self) -> str:
        kinds = [name for name in ("users", "tokens", "proxy", "oidc") if getattr(self, name)]
        return f"access by {', '.join(kinds)}" if kinds else "open to whoever reaches it"

    # -- who is it

    def by_password(self, name: str, password: str) -> User | None:
        """The user who has this password."""
        entry = self.users.get(name)
        right = matches_password(password, entry.password if entry is not None else _nobody())
        return self.known(name, "password") if entry is not None and right else None

    def by_token(self, token: str) -> User | None:
        """The program that has this token."""
        found = None
        for name, entry in self.tokens.items():
            # All of them are compared: the time says nothing about which was near.
            if matches_token(token, entry.hash):
                found = User(name=name, role=Role.named(entry.role), via="token")
        return found

    def by_proxy(self, peer: str | None, named: str | None) -> User | None:
        """The user whom a trusted proxy names; ``peer`` is the address that the request came from."""
        if self.proxy is None or not named or not self._trusts(peer):
            return None
        return self.known(named, "proxy")

    def by_email(self, email: str) -> User | None:
        """The user of an e-mail address that a provider has verified."""
        return self.known(email, "oidc")

    def known(self, name: str, via: str) -> User | None:
        """The user of this name who came by this way, with the role of today; None if there is none any more."""
        role = ""
        if via == "password" and name in self.users:
            role = self.users[name].role
        elif via == "proxy" and self.proxy is not None:
            role = self.proxy.roles.get(name, self.proxy.role)
        elif via == "oidc" and self.oidc is not None and allowed(name, self.oidc.allowed):
            role = {each.casefold(): role for each, role in self.oidc.roles.items()}.get(
                name.casefold(), self.oidc.role
            )
        return User(name=name, role=Role.named(role), via=via) if role else None

    def _trusts(self, peer: str | None) -> bool:
        try:
            address = ipaddress.ip_address(peer or "")
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    # -- checks

    def _check(self) -> None:
        for name, user in self.users.items():
            if not is_hash(user.password):
                raise ImproperlyConfigured(
                    f"users.{name}: its password is no scrypt hash; make one with talo dashboard --make-password {name}"
                )
            _check_role(f"users.{name}", user.role)
        for name, token in self.tokens.items():
            if not token.hash.startswith("sha256$") or len(token.hash) != len("sha256$") + 64:
                raise ImproperlyConfigured(
                    f"tokens.{name}: its hash is none; make one with talo dashboard --make-token {name}"
                )
            _check_role(f"tokens.{name}", token.role)
        if self.proxy is not None:
            self._check_proxy(self.proxy)
        if self.oidc is not None:
            self._check_oidc(self.oidc)

    def _check_proxy(self, proxy: Proxy) -> None:
        for role in (*filter(None, [proxy.role]), *proxy.roles.values()):
            _check_role("proxy", role)
        if not proxy.trusted:
            raise ImproperlyConfigured("proxy.trusted is empty: name the address of your reverse proxy")
        try:
            self._networks = tuple(ipaddress.ip_network(each, strict=False) for each in proxy.trusted)
        except ValueError as error:
            raise ImproperlyConfigured(f"proxy.trusted: {error}") from error

    @staticmethod
    def _check_oidc(oidc: Oidc) -> None:
        for role in (oidc.role, *oidc.roles.values()):
            _check_role("oidc", role)
        if not oidc.allowed:
            raise ImproperlyConfigured("oidc.allowed is empty: list e-mail addresses, or domains as @example.com")
        for each in oidc.allowed:
            local, at, domain = each.rpartition("@")
            if not at or not domain or "@" in local:
                raise ImproperlyConfigured(f"oidc.allowed: {each!r} is neither an address nor a domain (@example.com)")
        if not oidc.issuer.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ImproperlyConfigured(f"oidc.issuer: {oidc.issuer!r} is no https:// address")


def allowed(email: str, rules: list[str]) -> bool:
    """Whether an e-mail address is one of those, or of one of those domains (``@example.com``). Compared whole and
    without regard to case: neither ``me@example.com.evil.test`` nor ``me@sub.example.com`` is of ``@example.com``."""
    name = email.casefold()
    local, at, domain = name.partition("@")
    if not local or not at or not domain or "@" in domain or any(c.isspace() or not c.isprintable() for c in name):
        return False
    return any(rule.casefold() in (name, f"@{domain}") for rule in rules)


def _check_role(where: str, role: str) -> None:
    try:
        Role.named(role)
    except ValueError as error:
        raise ImproperlyConfigured(f"{where}: {error}") from error


@functools.cache
def _nobody() -> str:
    """Against this the password of an unknown name is checked, so that it takes as long as a known one."""
    return hash_password("nobody has this password")

"""`cbtool login`, `logout`, `whoami`: the account at CodaBench."""

from __future__ import annotations

import sys

import click

from toolkit.core.errors import PlatformError
from tools import options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import client as api
    from toolkit.codabench import credentials, eligibility

url = click.option(
    "--url",
    metavar="URL",
    help="The server. [default: CODABENCH_URL, else that of the last login, else https://www.codabench.org]",
)


@click.command()
@url
@click.option("--username", metavar="NAME", help="User name or e-mail. [default: ask for it]")
def login(url: str | None, username: str | None) -> None:
    """Log in at CodaBench, once.

    Asks for the password, or reads it from a pipe, exchanges it for a token and stores the token in
    a file that only you can read. The password is not stored. Accounts made through GitHub have no
    password: reset it on the web page to get one. The variables CODABENCH_TOKEN and CODABENCH_URL
    take precedence over the file.
    """

    server = credentials.find_account(url).url
    name = username or click.prompt(f"User name at {server}", err=True)
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        token = api.Client(credentials.Account(server)).login(name, password)
    except PlatformError as error:
        if error.status != 400:
            raise
        hint = f"Check user name and password at {server}/accounts/login/."
        raise PlatformError(
            f"{server} does not accept '{name}' with this password.", hint, 400
        ) from error
    name = api.Client(credentials.Account(server, token)).whoami()  # it may have been the e-mail
    file = credentials.store(credentials.Account(server, token, name))
    click.echo(f"Logged in at {server} as {name}.")
    output.hint(f"The token is in {file}. Next: cbtool competitions list --joined")


@click.command()
@url
def logout(url: str | None) -> None:
    """Remove the stored token of a server.

    CodaBench itself offers no way to revoke it.
    """

    account = credentials.find_account(url)
    found = credentials.forget(account)
    if found:
        click.echo(f"Logged out from {account.url}.")
    else:
        click.echo(f"There was no login at {account.url}.")


@click.command()
@options.json
def whoami(as_json: bool) -> None:
    """Show your CodaBench account and free storage."""
    client = connect()
    name, free = client.whoami(), client.get_free_bytes()
    if as_json:
        output.as_json({"url": client.url, "username": name, "free_bytes": free})
    else:
        click.echo(f"{name} at {client.url}; {eligibility.describe_free(free)}")


def connect(required: bool = True) -> api.Client:
    """A client for the user's account; unless `required`, it may have no token.

    Raises PlatformError when a token is required and there is none.
    """
    return api.Client(credentials.require_account() if required else credentials.find_account())

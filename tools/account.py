"""`cbtool login`, `logout`, `whoami`: who one is at CodaBench."""

import sys

import click

from tools import options, output

url = click.option(
    "--url",
    metavar="URL",
    help="The server. [default: CODABENCH_URL, else the last login's, else https://www.codabench.org]",
)


@click.command()
@url
@click.option("--username", metavar="NAME", help="User name or e-mail. [default: asked]")
def login(url: str | None, username: str | None) -> None:
    """Log in at CodaBench, once.

    Asks for the password, or reads it from a pipe, exchanges it for a token and keeps that in a
    file only you can read. The password is not kept. Accounts made through GitHub have none: reset
    it on the web page to get one. CODABENCH_TOKEN and CODABENCH_URL, where they are set, go before
    the file.
    """
    from toolkit.codabench import credentials
    from toolkit.codabench.client import Client
    from toolkit.codabench.credentials import Account
    from toolkit.core.errors import PlatformError

    server = credentials.current(url).url
    name = username or click.prompt(f"User name at {server}", err=True)
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        token = Client(Account(server)).login(name, password)
    except PlatformError as error:
        if error.status != 400:
            raise
        hint = (
            f"Check user name and password; {server}/accounts/login/ tells whether they are right."
        )
        raise PlatformError(
            f"{server} does not know '{name}' with this password.", hint, 400
        ) from error
    file = credentials.store(Account(server, token, name))
    click.echo(f"Logged in at {server} as {name}.")
    output.hint(f"The token is in {file}. Next: cbtool competitions list --joined")


@click.command()
@url
def logout(url: str | None) -> None:
    """Forget the token of a server.

    CodaBench itself has no way to withdraw it.
    """
    from toolkit.codabench import credentials

    account = credentials.current(url)
    found = credentials.forget(account)
    click.echo(f"Forgotten: {account.url}." if found else f"There was no login at {account.url}.")


@click.command()
@options.json
def whoami(as_json: bool) -> None:
    """Show who you are at CodaBench, and what is left of your storage."""
    client = connected()
    name, free = client.whoami(), client.free_bytes()
    if as_json:
        output.as_json({"url": client.url, "username": name, "free_bytes": free})
    else:
        click.echo(f"{name} at {client.url}; {free / 1e9:.2f} GB of storage free")


def connected(required: bool = True):
    """A client for the user's account; where it is not `required`, perhaps for nobody's."""
    from toolkit.codabench import credentials
    from toolkit.codabench.client import Client

    return Client(credentials.required() if required else credentials.current())

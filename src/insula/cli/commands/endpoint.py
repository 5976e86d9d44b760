"""endpoint and ca: what tools of other vendors need to come here."""

from __future__ import annotations

import click

from insula.cli.output import json_option, print_json
from insula.cli.session import Session
from insula.client.access import NewToken
from insula.domain.access import Scope

_DIGITALOCEAN_PREFIX = "dop_v1_"
_SCOPES = (
    *(Scope.INSTANCES_WRITE, Scope.IMAGES_WRITE, Scope.VOLUMES_WRITE, Scope.SNAPSHOTS_WRITE, Scope.BACKUPS_WRITE),
    *(Scope.NETWORKS_WRITE, Scope.FIREWALLS_WRITE, Scope.KEYS_WRITE, Scope.OPERATIONS_WRITE),
)
_READING = tuple(Scope(scope.replace(":write", ":read")) for scope in _SCOPES)
_DIGITALOCEAN = """# Environment
export DIGITALOCEAN_ACCESS_TOKEN={token}
export DIGITALOCEAN_END_POINT={url}/v2/
export DIGITALOCEAN_API_URL={url}

# Terraform
provider "digitalocean" {{
  token        = "{token}"
  api_endpoint = "{url}"
}}

# Ansible, for each task of community.digitalocean
oauth_token: {token}
baseurl: {url}/v2

# Python
digitalocean.Manager(token="{token}")  # with the environment above
pydo.Client(token="{token}", endpoint="{https}", connection_verify="insula-ca.pem")  # insula ca > insula-ca.pem
"""
_LINODE = """# Environment
export LINODE_TOKEN={token}
export LINODE_URL={url}

# linode-cli
export LINODE_CLI_TOKEN={token}
export LINODE_CLI_API_HOST={host}
export LINODE_CLI_API_SCHEME=http

# Terraform
provider "linode" {{
  token = "{token}"
  url   = "{url}"
}}

# Python
linode_api4.LinodeClient("{token}", base_url="{url}/v4")
"""


@click.command()
@json_option
@click.pass_obj
def ca(session: Session, as_json: bool) -> None:
    """Print the certificate that clients trust to come here over HTTPS: insula ca > insula-ca.pem."""
    certificate = session.client.authority()
    if as_json:
        print_json({"certificate": certificate})
        return
    click.echo(certificate, nl=False)


@click.group()
def endpoint() -> None:
    """Print what points other vendors' tools here, with a fresh token."""


@endpoint.command()
@click.option("--name", default="digitalocean", metavar="NAME", help="The new token's name.")
@click.option("--read-only", is_flag=True, help="The token may only look.")
@json_option
@click.pass_obj
def digitalocean(session: Session, name: str, read_only: bool, as_json: bool) -> None:
    """For DigitalOcean's: environment, Terraform, Ansible and Python."""
    scopes = _READING if read_only else _SCOPES
    made = session.client.tokens.create(name, scopes, prefix=_DIGITALOCEAN_PREFIX)
    _tell(session, made, _DIGITALOCEAN, as_json)


@endpoint.command()
@click.option("--name", default="linode", metavar="NAME", help="The new token's name.")
@click.option("--read-only", is_flag=True, help="The token may only look.")
@json_option
@click.pass_obj
def linode(session: Session, name: str, read_only: bool, as_json: bool) -> None:
    """For Linode's: environment, linode-cli, Terraform and Python."""
    made = session.client.tokens.create(name, _READING if read_only else _SCOPES)
    _tell(session, made, _LINODE, as_json)


def _tell(session: Session, made: NewToken, settings: str, as_json: bool) -> None:
    found = session.settings
    url = found.url if found.url.startswith("http") else f"http://{_host(found.listen_host)}:{found.listen_port}"
    https = f"https://{_host(found.listen_tls[0])}:{found.listen_tls[1]}" if found.listen_tls is not None else ""
    if as_json:
        print_json({"url": url, "https": https, "token": made.secret, "token_id": made.token.id})
        return
    host = url.partition("://")[2]
    click.echo(settings.format(url=url, https=https or url, host=host, token=made.secret), nl=False)


def _host(listening: str) -> str:
    """Where a client on this machine finds what listens there."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listening, listening)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host

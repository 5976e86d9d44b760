"""endpoint and ca: what tools of other vendors need to come here."""

from __future__ import annotations

from dataclasses import dataclass

import click

from insula.cli.output import json_option, print_json
from insula.cli.session import Session, host_here
from insula.domain.access import Scope

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
_LIGHTSAIL = """# Environment, for awscli and every SDK
export AWS_ACCESS_KEY_ID={key_id}
export AWS_SECRET_ACCESS_KEY={key_secret}
export AWS_ENDPOINT_URL_LIGHTSAIL={url}
export AWS_DEFAULT_REGION=us-east-1
export AWS_REGION=us-east-1

# awscli
aws lightsail get-instances --endpoint-url {url}

# Python
boto3.client("lightsail", endpoint_url="{url}", region_name="us-east-1",
             aws_access_key_id="{key_id}", aws_secret_access_key="{key_secret}")
"""


@dataclass(frozen=True)
class _Vendor:
    """Whose tools are pointed here. `settings` is what is printed; its token may have a `prefix`."""

    name: str
    summary: str
    settings: str
    prefix: str = ""
    further: tuple[Scope, ...] = ()  # what their tools do beyond what all vendors' do


_VENDORS = (
    _Vendor(
        "digitalocean", "For DigitalOcean's: environment, Terraform, Ansible and Python.", _DIGITALOCEAN, "dop_v1_"
    ),
    _Vendor("linode", "For Linode's: environment, linode-cli, Terraform and Python.", _LINODE),
    _Vendor(
        "lightsail",
        "For Amazon Lightsail's: environment, awscli and Python.",
        _LIGHTSAIL,
        further=(Scope.INSTANCES_EXEC,),  # the default key pair opens guests
    ),
)


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


def _command(vendor: _Vendor) -> click.Command:
    @click.command(vendor.name, help=vendor.summary)
    @click.option("--name", default=vendor.name, metavar="NAME", help="The new token's name.")
    @click.option("--read-only", is_flag=True, help="The token may only look.")
    @json_option
    @click.pass_obj
    def point(session: Session, name: str, read_only: bool, as_json: bool) -> None:
        found = session.settings
        url = session.web_url
        https = (
            f"https://{host_here(found.listen_tls[0])}:{found.listen_tls[1]}" if found.listen_tls is not None else ""
        )
        scopes = _READING if read_only else (*_SCOPES, *vendor.further)
        made = session.client.tokens.create(name, scopes, prefix=vendor.prefix)
        secrets = {"token": made.secret, "key_id": made.key_id, "key_secret": made.key_secret}
        if as_json:
            print_json({"url": url, "https": https, "token_id": made.token.id, **secrets})
            return
        click.echo(
            vendor.settings.format(url=url, https=https or url, host=url.partition("://")[2], **secrets), nl=False
        )

    return point


for _vendor in _VENDORS:
    endpoint.add_command(_command(_vendor))

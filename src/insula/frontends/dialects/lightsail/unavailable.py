"""What Insula has no feature for: empty lists, nothing of a name, and refusals of what would make something."""

from __future__ import annotations

from insula.base.errors import NotFound, Unsupported
from insula.frontends.dialects.dialect import Answer, Ask, Run
from insula.frontends.dialects.lightsail.dialect import New, answer, operation
from insula.frontends.dialects.lightsail.resource import instance

# What lists nothing, and the list's name.
_EMPTY = {
    "GetAlarms": "alarms",
    "GetBucketBundles": "bundles",
    "GetBuckets": "buckets",
    "GetCertificates": "certificates",
    "GetCloudFormationStackRecords": "cloudFormationStackRecords",
    "GetContactMethods": "contactMethods",
    "GetContainerAPIMetadata": "metadata",
    "GetContainerServicePowers": "powers",
    "GetContainerServices": "containerServices",
    "GetCostEstimate": "resourcesBudgetEstimate",
    "GetDiskSnapshots": "diskSnapshots",
    "GetDistributionBundles": "bundles",
    "GetDistributions": "distributions",
    "GetDomains": "domains",
    "GetExportSnapshotRecords": "exportSnapshotRecords",
    "GetLoadBalancerTlsPolicies": "tlsPolicies",
    "GetLoadBalancers": "loadBalancers",
    "GetRelationalDatabaseBlueprints": "blueprints",
    "GetRelationalDatabaseBundles": "bundles",
    "GetRelationalDatabaseSnapshots": "relationalDatabaseSnapshots",
    "GetRelationalDatabases": "relationalDatabases",
    "GetSubdomains": "subdomains",
}
# Of which there are none: the field that names one, what is asked about one, and what would make one.
_NONE = {
    "alarm": ("alarmName", ("DeleteAlarm", "TestAlarm"), ("PutAlarm",)),
    "bucket": (
        "bucketName",
        (
            *("CreateBucketAccessKey", "DeleteBucket", "DeleteBucketAccessKey", "GetBucketAccessKeys"),
            *("GetBucketMetricData", "SetResourceAccessForBucket", "UpdateBucket", "UpdateBucketBundle"),
        ),
        ("CreateBucket",),
    ),
    "certificate": ("certificateName", ("DeleteCertificate",), ("CreateCertificate",)),
    "stack": ("", (), ("CreateCloudFormationStack", "ExportSnapshot")),
    "contact method": ("protocol", ("DeleteContactMethod", "SendContactMethodVerification"), ("CreateContactMethod",)),
    "container service": (
        "serviceName",
        (
            *("CreateContainerServiceDeployment", "DeleteContainerImage", "DeleteContainerService"),
            *("GetContainerImages", "GetContainerLog", "GetContainerServiceDeployments"),
            *("GetContainerServiceMetricData", "RegisterContainerImage", "UpdateContainerService"),
        ),
        ("CreateContainerService", "CreateContainerServiceRegistryLogin"),
    ),
    "disk snapshot": (
        "diskSnapshotName",
        ("DeleteDiskSnapshot", "GetDiskSnapshot"),
        ("CreateDiskSnapshot", "CreateDiskFromSnapshot"),
    ),
    "distribution": (
        "distributionName",
        (
            *("AttachCertificateToDistribution", "DeleteDistribution", "DetachCertificateFromDistribution"),
            *("GetDistributionLatestCacheReset", "GetDistributionMetricData", "ResetDistributionCache"),
            *("UpdateDistribution", "UpdateDistributionBundle"),
        ),
        ("CreateDistribution",),
    ),
    "domain": (
        "domainName",
        ("CreateDomainEntry", "DeleteDomain", "DeleteDomainEntry", "GetDomain", "UpdateDomainEntry"),
        ("CreateDomain",),
    ),
    "load balancer": (
        "loadBalancerName",
        (
            *("AttachInstancesToLoadBalancer", "AttachLoadBalancerTlsCertificate"),
            *("CreateLoadBalancerTlsCertificate", "DeleteLoadBalancer", "DeleteLoadBalancerTlsCertificate"),
            *("DetachInstancesFromLoadBalancer", "GetLoadBalancer", "GetLoadBalancerMetricData"),
            *("GetLoadBalancerTlsCertificates", "UpdateLoadBalancerAttribute"),
        ),
        ("CreateLoadBalancer",),
    ),
    "relational database": (
        "relationalDatabaseName",
        (
            *("CreateRelationalDatabaseSnapshot", "DeleteRelationalDatabase", "GetRelationalDatabase"),
            *("GetRelationalDatabaseEvents", "GetRelationalDatabaseLogEvents", "GetRelationalDatabaseLogStreams"),
            *("GetRelationalDatabaseMasterUserPassword", "GetRelationalDatabaseMetricData"),
            *("GetRelationalDatabaseParameters", "RebootRelationalDatabase", "StartRelationalDatabase"),
            *("StopRelationalDatabase", "UpdateRelationalDatabase", "UpdateRelationalDatabaseParameters"),
        ),
        ("CreateRelationalDatabase", "CreateRelationalDatabaseFromSnapshot"),
    ),
    "database snapshot": (
        "relationalDatabaseSnapshotName",
        ("DeleteRelationalDatabaseSnapshot", "GetRelationalDatabaseSnapshot"),
        (),
    ),
    "subdomain": (
        "subdomainName",
        ("DeleteSubdomain", "UpdateSubdomainAssociation"),
        ("CheckSubdomainAvailability", "CreateSubdomain"),
    ),
    "graphical session": ("", (), ("CreateGUISessionAccessDetails", "StartGUISession", "StopGUISession")),
    "peered VPC": ("", (), ("PeerVpc", "UnpeerVpc")),
    "copy between regions": ("", (), ("CopySnapshot",)),
    "HTTPS that is set up for instances": ("", (), ("SetupInstanceHttps",)),
    "choice of how the metadata service is asked": ("", (), ("UpdateInstanceMetadataOptions",)),
    "choice of the kinds of addresses": ("", (), ("SetIpAddressType",)),
    "record of known host keys": ("", (), ("DeleteKnownHostKeys",)),
    "profile of an account": ("", (), ("GetProfile",)),
}


def _lister(name: str) -> Run:
    async def list_nothing(ask: Ask) -> Answer:
        return answer(**{name: []})

    return list_nothing


def _finder(what: str, field: str) -> Run:
    async def find_none(ask: Ask) -> Answer:
        raise NotFound(
            f"The {what} does not exist: {str(ask.body.get(field, ''))[:80]}",
            why="Insula has no such feature, so there is none",
            todo="Do without it",
            code="unknown-resource",
        )

    return find_none


def _refuser(what: str) -> Run:
    async def refuse(ask: Ask) -> Answer:
        raise Unsupported(f"There is no {what} here", why="Insula has no such feature", todo="Do without it")

    return refuse


class _Which(New):
    resource_name: str


@operation("GetSetupHistory")
async def get_setup_history(ask: Ask) -> Answer:
    """Nothing sets up HTTPS for an instance, so it has no history."""
    await instance(ask, ask.read(_Which).resource_name)
    return answer(setupHistory=[])


for _name, _list in _EMPTY.items():
    operation(_name)(_lister(_list))
for _what, (_field, _asked, _making) in _NONE.items():
    for _name in _asked:
        operation(_name)(_finder(_what, _field))
    for _name in _making:
        operation(_name)(_refuser(_what))
LISTS = frozenset({*_EMPTY, "GetSetupHistory"})
NAMES = LISTS | {name for _, asked, making in _NONE.values() for name in (*asked, *making)}

"""crypto.dapr.kubernetes.secrets would have the keys in Secrets of Kubernetes. It cannot be used.

Loading one fails, and says so. Mount the Secret as files, and use crypto.dapr.localstorage with its folder.
"""

from pydapr.components import component, option, options
from pydapr.components.crypto import CryptoError, CryptoProvider

_REASON = (
    "crypto.dapr.kubernetes.secrets is not available in this version of pydapr; "
    "mount the Secret as files and use crypto.dapr.localstorage"
)


@options
class Options:
    default_namespace: str = option("The namespace of Secrets that name none.", default="")
    kubeconfig_path: str = option("A kubeconfig, outside of a cluster.", default="")


@component("crypto.dapr.kubernetes.secrets", Options)
class KubernetesSecrets(CryptoProvider):
    def __init__(self, options: Options) -> None:
        pass

    async def open(self) -> None:
        raise OSError(_REASON)

    async def wrap(self, key: bytes, algorithm: str, key_name: str) -> bytes:
        raise CryptoError(_REASON)

    async def unwrap(self, wrapped: bytes, algorithm: str, key_name: str) -> bytes:
        raise CryptoError(_REASON)

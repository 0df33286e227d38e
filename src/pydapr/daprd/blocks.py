"""The blocks that only use components of one kind: cryptography, locks, configuration, conversation, bindings.

Made by `daprd.runtime` when the components are open; the faces have them from `daprd.faces`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydapr.app.channel import AppChannel
from pydapr.blocks.bindings import Bindings
from pydapr.blocks.configuration import Configuration
from pydapr.blocks.conversation import Conversations
from pydapr.blocks.crypto import Crypto
from pydapr.blocks.jobs import Jobs
from pydapr.blocks.lock import Lock
from pydapr.components.configuration import ConfigurationStore
from pydapr.components.conversation import Conversation
from pydapr.components.crypto import CryptoProvider
from pydapr.daprd import components
from pydapr.daprd.bindings import outputs
from pydapr.lib.record import Record
from pydapr.security import ciphers

if TYPE_CHECKING:
    from pydapr.daprd.measures import Measures
    from pydapr.policy.resiliency import Resiliency


class Blocks(Record):
    """One of each."""

    crypto: Crypto
    lock: Lock
    configuration: Configuration
    conversations: Conversations
    bindings: Bindings
    jobs: Jobs


def build(
    opened: components.Opened | None,
    app: Callable[[], AppChannel | None],
    policies: "Resiliency | None",
    measures: "Measures | None",
    jobs: Jobs,
) -> Blocks:
    """The blocks over what is open, and that of jobs; `app` gives the channel to the app."""
    parts = {name: part for name, (_, part) in opened.parts.items()} if opened is not None else {}
    providers = {name: part for name, part in parts.items() if isinstance(part, CryptoProvider)}
    crypto = Crypto(providers, ciphers.make, policies)
    stores = {name: part for name, part in parts.items() if isinstance(part, ConfigurationStore)}
    configuration = Configuration(stores, app, policies)
    models = {name: part for name, part in parts.items() if isinstance(part, Conversation)}
    conversations = Conversations(models, policies)
    calls = Bindings(outputs(opened), policies)
    if measures is not None:
        calls.metrics = measures.output_bindings
        crypto.operations.metrics = measures.crypto
        configuration.operations.metrics = measures.configuration
        conversations.operations.metrics = measures.conversation
    locks = Lock(opened.lock_stores if opened is not None else {}, policies)
    return Blocks(crypto, locks, configuration, conversations, calls, jobs)

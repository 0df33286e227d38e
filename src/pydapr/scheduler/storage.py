"""Where this scheduler keeps its jobs, after its flags: an SQLite file of its own, or etcd; and its membership.

Used by `runtime`: `open` before anything else, then `membership.join`; everything closes with the stack it is given.
What there is to know for operators stands in docs/scheduler-storage.md, why it is so in docs/decisions/011.
"""

import asyncio
import contextlib
import ipaddress
import os
from collections.abc import Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydapr.controlplane.beside import Beside
from pydapr.controlplane.process import Fatal
from pydapr.net import etcd, server, tasks
from pydapr.observe import logging
from pydapr.observe.metrics import GAUGE, Sample
from pydapr.proto.etcd import rpc_pb2
from pydapr.scheduler import etcd_process, flags
from pydapr.scheduler.membership import Elected
from pydapr.scheduler.store import LeasedStore, StoreError

if TYPE_CHECKING:
    from pydapr.scheduler.stores.sqlite import SqliteStore

log = logging.get("dapr.scheduler.server.etcd")

EMBEDDED, EXTERNAL = "scheduler-etcd-embed", "scheduler-etcd-external"
"""Parts of the health check, named as the original's."""

MAX_MESSAGE = (1 << 31) - 1
"""What etcd may answer at a time."""

LOOK_SECONDS = 10.0
"""How often etcd is asked how it is."""

_WAYS = (
    "install etcd (its executable must be on the PATH), or name the endpoints of an etcd that runs elsewhere with "
    "--etcd-embed=false --etcd-client-endpoints"
)
_NO_ETCD = f"several schedulers share their jobs by etcd, and there is none: {_WAYS}, or run a single scheduler, which "
_NO_ETCD += "needs no etcd (one member in --etcd-initial-cluster)"
_ETCD_DATA = (
    f"{{}} holds jobs in the format of etcd, and there is no etcd to read them: {_WAYS}, or begin without them in "
)
_ETCD_DATA += "another --etcd-data-dir; docs/scheduler-storage.md says how to move them"
_FILE_DATA = "{} holds jobs of a single scheduler, which the etcd of several would not know: "
_FILE_DATA += "docs/scheduler-storage.md says how to move them; remove it if they are not wanted"


class Storage:
    """The store, who shares it, and what stands beside it. Both are there after `open`."""

    store: LeasedStore
    membership: Elected

    def __init__(self, settings: flags.Settings, host: str) -> None:
        """`host` is the address by which sidecars find this scheduler."""
        self._settings, self._etcd, self._host = settings, settings.etcd, host
        self._file: SqliteStore | None = None
        self._status = rpc_pb2.StatusResponse()
        """What etcd has said last about itself."""

    async def open(self, beside: Beside, stack: contextlib.AsyncExitStack) -> None:
        """The store is ready, and `membership` may join. Raises `Fatal`."""
        try:
            if not self._etcd.embed:
                await self._open_external(beside, stack)
            elif len(self._etcd.initial_cluster) > 1 or etcd_process.has_data(self._etcd_folder()):
                await self._open_child(beside, stack)
            else:
                await self._open_file(beside, stack)
        except StoreError as error:
            raise Fatal(f"failed to open the storage of jobs: {error}") from None
        self.membership = Elected(self.store, self._settings.id, self._host)

    def samples(self) -> Iterator[Sample]:
        """For the metrics: those of etcd's by which the storage of the original is watched."""
        status = self._status
        total, used, has_leader = status.dbSize, status.dbSizeInUse, bool(status.leader)
        if self._file is not None:
            total, used, has_leader = self._file.size.total, self._file.size.used, True
        yield Sample(GAUGE, "etcd_server_has_leader", "Whether the storage of jobs takes writes.", int(has_leader))
        name, text = "etcd_mvcc_db_total_size", "Bytes of the storage of jobs"
        yield Sample(GAUGE, f"{name}_in_bytes", f"{text}.", total)
        yield Sample(GAUGE, f"{name}_in_use_in_bytes", f"{text} that hold something.", used)

    # -- an SQLite file --

    async def _open_file(self, beside: Beside, stack: contextlib.AsyncExitStack) -> None:
        wanted = self._etcd
        _, peer_url = self._own_peer()
        from pydapr.scheduler.etcd_api import EtcdApi, Place
        from pydapr.scheduler.stores.sqlite import SqliteStore

        beside.health.add(EMBEDDED)
        store = SqliteStore(self._file_folder(), wanted.space_quota)
        await store.open()
        stack.push_async_callback(store.close)
        store.on_full = lambda is_full: (beside.health.add if is_full else beside.health.ready)(EMBEDDED)
        self.store = self._file = store
        host = wanted.client_listen_address
        place = Place(
            self._settings.id, peer_url, f"http://{host or '0.0.0.0'}:{wanted.client_port}", wanted.max_txn_ops
        )
        options = server.Options(with_http1=False)
        await beside.listen(EtcdApi(store, place).methods(), host, wanted.client_port, options, EMBEDDED)

    # -- etcd --

    async def _open_external(self, beside: Beside, stack: contextlib.AsyncExitStack) -> None:
        wanted = self._etcd
        log.info("Using external Etcd database, will not start embedded Etcd")
        try:
            endpoints = [etcd.address(one) for one in wanted.client_endpoints]
        except ValueError as error:
            raise Fatal(f"failed to create etcd client: --etcd-client-endpoints: {error}") from None
        await self._open_etcd(beside, stack, endpoints, EXTERNAL)

    async def _open_child(self, beside: Beside, stack: contextlib.AsyncExitStack) -> None:
        wanted = self._etcd
        _, peer_url = self._own_peer()
        executable = etcd_process.find()
        if executable is None:
            raise Fatal(_NO_ETCD if len(wanted.initial_cluster) > 1 else _ETCD_DATA.format(self._etcd_folder()))
        if self._has_file():
            raise Fatal(_FILE_DATA.format(self._file_folder()))
        log.info("Starting embedded Etcd")
        host = wanted.client_listen_address
        child = etcd_process.Etcd(executable, self._child_options(peer_url))
        beside.run(child.run())
        reached_by = "127.0.0.1" if host in ("", "0.0.0.0", "::", "[::]") else host
        await self._open_etcd(beside, stack, [f"{reached_by}:{wanted.client_port}"], EMBEDDED)

    async def _open_etcd(
        self, beside: Beside, stack: contextlib.AsyncExitStack, endpoints: Sequence[str], part: str
    ) -> None:
        from pydapr.scheduler.stores.etcd import EtcdStore

        beside.health.add(part)
        wanted = self._etcd
        client = etcd.Client(
            endpoints, username=wanted.client_username, password=wanted.client_password, max_message=MAX_MESSAGE
        )
        store = EtcdStore(client)
        stack.push_async_callback(store.close)
        await self._until_failed(beside, store.open())
        self.store = store
        beside.health.ready(part)
        beside.run(self._look(client))

    async def _until_failed(self, beside: Beside, opening: Coroutine[None, None, None]) -> None:
        """Waits for etcd, or for the end of the one that we have started."""
        task = asyncio.create_task(opening)
        try:
            await asyncio.wait((task, beside.failed), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                beside.failed.result()
            task.result()
        finally:
            await tasks.stop((task,))

    async def _look(self, client: etcd.Client) -> None:
        """Asks etcd how it is, for the metrics."""
        while True:
            try:
                asked = rpc_pb2.StatusRequest()
                self._status = await client.call("Maintenance/Status", asked, rpc_pb2.StatusResponse, may_repeat=True)
            except etcd.Failed:
                self._status.leader = 0
            await asyncio.sleep(LOOK_SECONDS)

    def _child_options(self, peer_url: str) -> etcd_process.Options:
        wanted = self._etcd
        hostname = urlsplit(peer_url).hostname or ""
        return etcd_process.Options(
            name=self._settings.id,
            folder=self._etcd_folder(),
            marker_folder=wanted.data_dir,
            initial_cluster=wanted.initial_cluster,
            peer_url=peer_url,
            listen_on_all=self._is_in_kubernetes or not (hostname == "localhost" or _is_address(hostname)),
            client_url=f"http://{wanted.client_listen_address or '0.0.0.0'}:{wanted.client_port}",
            settings=(
                ("quota-backend-bytes", str(wanted.space_quota)),
                ("auto-compaction-mode", wanted.compaction_mode),
                ("auto-compaction-retention", wanted.compaction_retention),
                ("snapshot-count", str(wanted.snapshot_count)),
                ("max-snapshots", str(wanted.max_snapshots)),
                ("max-wals", str(wanted.max_wals)),
                ("backend-batch-limit", str(wanted.backend_batch_limit)),
                ("backend-batch-interval", wanted.backend_batch_interval),
                ("max-txn-ops", str(wanted.max_txn_ops)),
                ("max-request-bytes", str((1 << 31) - 1)),
                ("initial-election-tick-advance", str(wanted.initial_election_tick_advance).lower()),
                ("metrics", wanted.metrics),
            ),
            optional=(("experimental-bootstrap-defrag-threshold-megabytes", str(wanted.defrag_threshold_mb)),),
            identity_folder=self._settings.identity_folder if self._settings.with_tls else "",
        )

    # -- places --

    @property
    def _is_in_kubernetes(self) -> bool:
        return self._settings.mode == flags.KUBERNETES

    def _folder(self) -> str:
        """What the original calls the data directory of this scheduler."""
        if self._is_in_kubernetes:
            return self._etcd.data_dir
        return os.path.join(self._etcd.data_dir, f"{self._settings.namespace}-{self._settings.id}")

    def _has_file(self) -> bool:
        return os.path.exists(os.path.join(self._file_folder(), "jobs.db"))

    def _file_folder(self) -> str:
        return os.path.join(self._folder(), "pydapr")

    def _etcd_folder(self) -> str:
        """As the original's, so that either goes on with what the other has left."""
        return os.path.join(self._folder(), "dapr-0.1")

    def _own_peer(self) -> tuple[str, str]:
        """Our entry of the initial cluster. Raises `Fatal`."""
        found = list(self._etcd.initial_cluster)
        for one in found:
            id, separator, url = one.partition("=")
            if not separator:
                form = f"incorrect format for initialPeerList: {found}. Should contain <id>=http://<ip>:<peer-port>"
                raise Fatal(
                    "failed to create etcd config: invalid format for initial cluster. Make sure to include 'http://' "
                    f"or 'https://' in Scheduler URL: {form}"
                )
            if id == self._settings.id:
                return id, url
        raise Fatal(f"failed to create etcd config: scheduler ID: {self._settings.id} is not found in initial cluster")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

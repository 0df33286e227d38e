"""`dapr scheduler`: jobs and reminders that are scheduled, to look at, remove, and carry elsewhere.

Asks the store of the scheduler (`etcd.py`) that runs use, which is started if need be, or of the original's. Names and
columns are made in `jobs.py`, the file of an export in `gob.py`.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from pydapr.cli import etcd, gob, grammar, home, jobs, list_, plane, status

_OUTPUTS = ("short", "wide", "yaml", "json")

FLAGS = (
    grammar.Flag("namespace", "Namespace of the Dapr application", "n", default="default"),
    grammar.Flag("output", "Output format of list and get. One of short, wide, yaml, json", "o", default="short"),
    grammar.Flag("filter", "list: jobs of a type. One of all, app, actor, workflow, activity", default="all"),
    grammar.Flag("output-file", "export: the file to write; also -o"),
    grammar.Flag("input-file", "import: the file to read", "f"),
    grammar.Flag("kubernetes", "Not available", "k", "bool"),
    grammar.Flag("scheduler-namespace", "Has no effect: it is for Kubernetes", default="dapr-system"),
)

EXAMPLE = """\
# What is scheduled
dapr scheduler list
dapr scheduler list --filter actor --output wide

# One job, one reminder
dapr scheduler get app/my-app-id/my-job-name
dapr scheduler delete actor/my-actor-type/my-actor-id/my-reminder-name

# All of an app
dapr scheduler delete-all app/my-app-id

# To a file, and back
dapr scheduler export --output-file jobs.bin
dapr scheduler import --input-file jobs.bin
"""

_SHORT = {"name": "NAME", "begin": "BEGIN", "count": "COUNT", "lastTrigger": "LAST TRIGGER"}
_WIDE = {
    "namespace": "NAMESPACE",
    "name": "NAME",
    "begin": "BEGIN",
    "expiration": "EXPIRATION",
    "schedule": "SCHEDULE",
    "dueTime": "DUE TIME",
    "ttl": "TTL",
    "repeats": "REPEATS",
    "count": "COUNT",
    "lastTrigger": "LAST TRIGGER",
}
_PATIENCE = 10.0
_DEFAULT_PORT = 2379

Row = dict[str, str | int | bool | None]


def run(values: grammar.Values, arguments: list[str]) -> int:
    name, *rest = arguments or [""]
    action = _ACTIONS.get(_ALIASES.get(name, name))
    if action is None:
        status.failure(f"What should the scheduler be asked? There is: dapr scheduler {'|'.join(_ACTIONS)}")
        return 1
    if values.switch("kubernetes"):
        status.failure("dapr scheduler --kubernetes is not available: pydapr runs on this machine only")
        return 1
    try:
        _check(values)
        asyncio.run(_ask(values, rest, action))
    except (jobs.Wrong, gob.Malformed, etcd.Failed, OSError) as wrong:
        status.failure(str(wrong))
        return 1
    return 0


def _check(values: grammar.Values) -> None:
    if values.text("filter") not in jobs.FILTERS:
        raise jobs.Wrong(f"invalid value for --filter. Supported values are {', '.join(jobs.FILTERS)}")


async def _ask(values: grammar.Values, arguments: list[str], action: "Action") -> None:
    store = etcd.Etcd(_address(values))
    try:
        await action(store, values, arguments)
    finally:
        store.close()


def _address(values: grammar.Values) -> str:
    """Where the store of the scheduler is that runs use. Raises OSError."""
    control_plane = plane.Plane(home.directory(values))
    address = control_plane.address("scheduler-host-address")
    if not address:
        raise OSError("there is no scheduler")
    control_plane.start()
    if control_plane.await_listening(_PATIENCE):
        raise OSError("the scheduler could not be started; its log is in the Dapr home, embedded/scheduler.log")
    own = {noted.address: noted for noted in control_plane.running().values()}
    port = own[address].ports["etcd-client-port"] if address in own else _DEFAULT_PORT
    return f"{plane.HOST}:{port}"


async def _list(store: etcd.Etcd, values: grammar.Values, _: list[str]) -> None:
    stored, counters = await store.scan(jobs.JOBS), await store.scan(jobs.COUNTERS)
    namespace = values.text("namespace")
    found = list(jobs.select(stored, counters, namespace, values.text("filter")))
    if found:
        _show(found, values.text("output"))
    else:
        status.failure(f"No jobs found in namespace {grammar.quote(namespace)}")


async def _get(store: etcd.Etcd, values: grammar.Values, names: list[str]) -> None:
    found = []
    for name in _required(names, "get"):
        key = jobs.key(name, values.text("namespace"))
        stored, counter = await store.get(jobs.JOBS + key, jobs.COUNTERS + key)
        if stored is None:
            raise jobs.Wrong(f"job '{name}' not found")
        found.append(jobs.read(jobs.JOBS + key, stored, counter))
    _show(found, values.text("output"))


async def _delete(store: etcd.Etcd, values: grammar.Values, names: list[str]) -> None:
    namespace = values.text("namespace")
    for name in _required(names, "delete"):
        key = jobs.key(name, namespace)
        deleted, _ = await store.delete(jobs.JOBS + key, jobs.COUNTERS + key)
        if not deleted:
            raise jobs.Wrong(f"no job with key '{name}' found in namespace '{namespace}'")
        status.info(f"Deleted {name} in namespace '{namespace}'.")


async def _delete_all(store: etcd.Etcd, values: grammar.Values, names: list[str]) -> None:
    if len(names) != 1:
        raise jobs.Wrong(f"accepts 1 arg(s), received {len(names)}")
    namespace = values.text("namespace")
    prefixes = jobs.prefixes(names[0], namespace)
    both = [kind + prefix for kind in (jobs.JOBS, jobs.COUNTERS) for prefix in prefixes]
    deleted = [key for keys in (await store.delete_prefixes(*both))[: len(prefixes)] for key in keys]
    for key in deleted:
        status.info(f"Deleted job '{key}'.")
    status.info(f"Deleted {len(deleted)} jobs in namespace '{namespace}'.")


async def _export(store: etcd.Etcd, values: grammar.Values, _: list[str]) -> None:
    path = values.text("output-file") or (values.text("output") if values.is_given("output") else "")
    if not path:
        raise jobs.Wrong('required flag(s) "output-file" not set')
    maps = {"Jobs": await store.scan(jobs.JOBS), "Counters": await store.scan(jobs.COUNTERS)}
    _write_new(path, gob.write(maps))
    status.info(f"Exported {len(maps['Jobs'])} jobs and {len(maps['Counters'])} counters.")
    status.info(f"Export to '{path}' complete.")


async def _import(store: etcd.Etcd, values: grammar.Values, _: list[str]) -> None:
    path = values.text("input-file")
    if not path:
        raise jobs.Wrong('required flag(s) "input-file" not set')
    maps = gob.read(_read(path))
    for key, value in maps.get("Jobs", {}).items():
        jobs.read(key, value, None)  # nothing is written of a file with something else in it
    # Counters first: a job that is there without its counter would begin anew.
    entries = [*maps.get("Counters", {}).items(), *maps.get("Jobs", {}).items()]
    if strange := [key for key, _ in entries if not key.startswith((jobs.JOBS, jobs.COUNTERS))]:
        raise jobs.Wrong(f"decode import file: {strange[0]} is no key of a job")
    await store.put(entries)
    status.info(f"Imported {len(entries)} items.")
    status.info(f"Import from '{path}' complete.")


def _write_new(path: str, data: bytes) -> None:
    try:
        file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise jobs.Wrong(f"file '{path}' already exists") from None
    with file:
        file.write(data)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _required(names: list[str], action: str) -> list[str]:
    if not names:
        raise jobs.Wrong(f"dapr scheduler {action} requires at least 1 arg(s), only received 0")
    return names


Action = Callable[[etcd.Etcd, grammar.Values, list[str]], Awaitable[None]]
_ACTIONS: dict[str, Action] = {
    "list": _list,
    "get": _get,
    "delete": _delete,
    "delete-all": _delete_all,
    "export": _export,
    "import": _import,
}
_ALIASES = {"g": "get", "ge": "get", "d": "delete", "del": "delete", "da": "delete-all", "delall": "delete-all"}


# -- output --


def _show(found: Sequence[jobs.Job], output: str) -> None:
    if output not in _OUTPUTS:
        raise jobs.Wrong(f"invalid value for --output. Supported values are {', '.join(_OUTPUTS)}")
    if output == "short":
        now = datetime.now(UTC)
        text = list_.table([_short(job, now) for job in found], _SHORT)
    else:
        rows = [_wide(job) for job in found]
        if output == "json":
            text = json.dumps([_without(row, "lastTrigger") for row in rows], indent=2, ensure_ascii=False)
        elif output == "yaml":
            import yaml

            text = str(yaml.safe_dump([_without(row, *row) for row in rows], sort_keys=False, allow_unicode=True))
        else:
            text = list_.table(
                [{key: "" if value is None else value for key, value in row.items()} for row in rows], _WIDE
            )
    sys.stdout.write(text)


def _short(job: jobs.Job, now: datetime) -> list_.Row:
    begin = (job.begin - now).total_seconds()
    last = (now - job.last_trigger).total_seconds() if job.last_trigger is not None else None
    return {
        "name": job.name,
        "begin": f"{'+' if begin > 0 else '-'}{jobs.human(abs(begin))}",
        "count": job.triggers,
        "lastTrigger": f"-{jobs.human(abs(last))}" if last is not None else "",
    }


def _wide(job: jobs.Job) -> Row:
    return {
        "namespace": job.namespace,
        "name": job.name,
        "begin": _moment(job.begin),
        "expiration": _moment(job.expiration),
        "schedule": job.schedule,
        "dueTime": job.due_time,
        "ttl": job.ttl,
        "repeats": job.repeats,
        "count": job.triggers,
        "lastTrigger": _moment(job.last_trigger),
    }


def _moment(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else None


def _without(row: Row, *names: str) -> Row:
    """A row without those of the values that are nothing."""
    return {name: value for name, value in row.items() if value not in (None, 0, "") or name not in names}

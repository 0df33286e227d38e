"""Where the component of a type is: a file of the user's own, a socket, pydapr itself, or a package beside it.

Asked by `daprd.components` for each resource. What somebody has put where it is looked for comes before what is built
in, as sockets do in the original (v1.18.3); a type that the original has in several versions is never taken over.
"""

from collections.abc import Mapping

from pydapr import components
from pydapr.components import own, pluggable
from pydapr.observe import logging
from pydapr.resources import component

log = logging.get("dapr.runtime.processor")


async def find(wanted: component.Component, environ: Mapping[str, str]) -> components.Found | None:
    """The component of a resource's type, None when there is none. Raises `OSError`, `ValueError` for one that is
    there, and cannot be used."""
    found = own.in_folder(wanted.type, wanted.version, environ)
    if found is not None:
        log.info(f"Component {wanted.log_name} is made by {own.place(wanted.type, wanted.version, environ)}")
        return found
    built_in = components.find(wanted.type, wanted.version)
    if pluggable.has_folder(environ) and components.find(wanted.type, "v2") is None:
        from pydapr.components.drivers import pluggable as driver

        found = await driver.find(wanted.type, wanted.version, wanted.name, environ, built_in is not None)
    return found or built_in or own.installed(wanted.type, wanted.version)

"""Whether the sidecar is ready, and what is missing. Told by `daprd.runtime`, asked by the faces."""


class Health:
    """Parts report ready or not; the sidecar is ready when all that were named are."""

    def __init__(self) -> None:
        self._missing: dict[str, None] = {"runtime": None}
        self.is_outbound_ready = False

    @property
    def is_ready(self) -> bool:
        return not self._missing

    @property
    def missing(self) -> str:
        """The parts that are not ready, separated by blanks."""
        return " ".join(self._missing)

    def ready(self, part: str = "runtime") -> None:
        """`part` is ready."""
        self._missing.pop(part, None)

    def not_ready(self, part: str = "runtime") -> None:
        """`part` is not ready, or not any more."""
        self._missing[part] = None

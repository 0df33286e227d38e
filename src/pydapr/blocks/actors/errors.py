"""What can go wrong with reminders and timers, as the API answers it. Codes and words are the original's (v1.18.3,
`pkg/messages/predefined.go`). Those of actors in general stand in `pydapr.errors`."""

from pydapr.errors import AboutActors, Code


class NotHosted(AboutActors):
    """Reminders of actors that live elsewhere are none of this app's."""

    status = 403
    grpc = Code.PERMISSION_DENIED
    code = "ERR_ACTOR_REMINDER_NON_HOSTED"

    def __init__(self) -> None:
        super().__init__("operations on actor reminders are only possible on hosted actor types")


class ReminderNotFound(AboutActors):
    """There is no such reminder."""

    status = 404
    grpc = Code.NOT_FOUND
    code = "ERR_ACTOR_REMINDER_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"actor reminder not found: {name}")


class ReminderExists(AboutActors):
    """There is such a reminder, and it is not to be replaced."""

    status = 409
    grpc = Code.ALREADY_EXISTS
    code = "ERR_ACTOR_REMINDER_ALREADY_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"actor reminder already exists: {name}")


class ReminderNotCreated(AboutActors):
    """A reminder is not one that can be, or could not be kept."""

    code = "ERR_ACTOR_REMINDER_CREATE"

    def __init__(self, reason: str) -> None:
        super().__init__(f"error creating actor reminder: {reason}")


class ReminderNotRead(AboutActors):
    """It is not known whether there is such a reminder."""

    code = "ERR_ACTOR_REMINDER_GET"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"error getting actor reminder: api error: code = Internal desc = failed to get job due to: {reason}"
        )


class ReminderNotListed(AboutActors):
    """It is not known which reminders there are. The scheduler's own words, as with the original."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.grpc = Code(code) if 0 <= code <= max(Code) else Code.UNKNOWN


class ReminderNotDeleted(AboutActors):
    """Reminders may still be there."""

    code = "ERR_ACTOR_REMINDER_DELETE"

    def __init__(self, reason: str) -> None:
        super().__init__(f"error deleting actor reminder: {reason}")


class TimerNotCreated(AboutActors):
    """A timer is not one that can be, or is of an actor that is not hosted here."""

    code = "ERR_ACTOR_TIMER_CREATE"

    def __init__(self, reason: str) -> None:
        super().__init__(f"error creating actor timer: {reason}")

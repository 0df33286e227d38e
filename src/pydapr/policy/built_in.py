"""The retries that hold without any resource, by the names under which a resource may override them."""

from __future__ import annotations

from pydapr.policy.retry import Retry

SERVICE = "DaprBuiltInServiceRetries"
ACTOR = "DaprBuiltInActorRetries"
ACTOR_REMINDER = "DaprBuiltInActorReminderRetries"
ACTOR_NOT_FOUND = "DaprBuiltInActorNotFoundRetries"
INITIALIZATION = "DaprBuiltInInitializationRetries"

LEAST_RETRIES = 3
"""An override with fewer is raised to these; `ACTOR_NOT_FOUND` cannot be overridden at all."""

RETRIES = {
    SERVICE: Retry(duration=1.0, max_retries=3),
    ACTOR: Retry(duration=1.0, max_retries=3),
    # The original gives it times and pauses but a count of 0, which is no retry at all.
    ACTOR_REMINDER: Retry(is_exponential=True, max_retries=0),
    INITIALIZATION: Retry(is_exponential=True, duration=2.0, max_interval=1.0, max_elapsed=10.0, max_retries=3),
    ACTOR_NOT_FOUND: Retry(duration=1.0, max_retries=5),
}

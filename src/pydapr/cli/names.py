"""Made-up app ids for runs that were not given one. Pure: the caller brings the randomness."""

from collections.abc import Callable, Container, Sequence

_FIRST = "amber brisk calm dapper eager fuzzy gentle happy icy jolly keen lucky mellow nimble plucky quiet rosy"
_SECOND = "bark cloud dust ember fern glass honey ivy kite leaf moss night ocean pepper quartz river snow thunder"
_THIRD = "beak brow cheek crest ears eyes feet hand horn mane nose paw scale shell tail tooth toe whisker wing"


def app_id(taken: Container[str], choose: Callable[[Sequence[str]], str]) -> str:
    """An app id such as `fuzzy-riverwhisker` that is not taken; numbered when names run short."""
    for attempt in range(1_000_000):
        number = f"-{attempt}" if attempt > 20 else ""
        name = f"{choose(_FIRST.split())}-{choose(_SECOND.split())}{choose(_THIRD.split())}{number}"
        if name not in taken:
            return name
    raise RuntimeError("no free app id")

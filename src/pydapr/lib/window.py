"""Counts over the last moments, in buckets of time. Pure: time, in milliseconds, is an argument.

As in Sentinel, the window ends with the bucket of now, which is still filling, so that it is between one bucket less
than an interval and an interval long.
"""


class Bucket:
    """What happened in a piece of time."""

    __slots__ = ("bad", "completed", "fastest", "passed", "start", "took")

    def __init__(self) -> None:
        self.begin(-1)

    def begin(self, start: int) -> None:
        """Empties it, for a piece of time that begins at `start`."""
        self.start = start
        self.passed = self.completed = self.bad = self.took = 0
        self.fastest = 60_000


class Window:
    """`count` buckets that cover `interval` milliseconds together."""

    __slots__ = ("_buckets", "interval", "length")

    def __init__(self, count: int, interval: int) -> None:
        self.interval, self.length = interval, interval // count
        self._buckets = [Bucket() for _ in range(count)]

    def at(self, now: int) -> Bucket:
        """The bucket of now."""
        start = now - now % self.length
        bucket = self._buckets[start // self.length % len(self._buckets)]
        if bucket.start != start:
            bucket.begin(start)
        return bucket

    def last(self, now: int, interval: int) -> list[Bucket]:
        """The buckets of the last `interval` milliseconds."""
        end = now - now % self.length
        begin = end - interval + self.length
        return [bucket for bucket in self._buckets if begin <= bucket.start <= end and bucket.start >= 0]

    def passed(self, now: int, interval: int) -> int:
        """How many passed in the last `interval` milliseconds."""
        return sum(bucket.passed for bucket in self.last(now, interval))

    def clear(self) -> None:
        """Forgets everything."""
        for bucket in self._buckets:
            bucket.begin(-1)

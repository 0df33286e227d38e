"""The validator `insecure` believes everybody: for networks where whoever reaches sentry is trusted."""

from pydapr.sentry import validators


class Insecure(validators.Validator):
    async def validate(self, request: validators.Request) -> str:
        return validators.check(request)

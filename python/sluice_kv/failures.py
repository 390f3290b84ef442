"""What the connectors share: Sluice's failures never reach the engine."""

import logging

from sluice_kv import api

_log = logging.getLogger("sluice_kv")


class Failures:
    """Turns failures into `otherwise`, and keeps the last one."""

    def __init__(self, *others: type[Exception]):
        """others: errors that count as failures beside the library's."""
        self._errors = (api.Error, OSError, *others)
        self.last: str | None = None

    def guard(self, what: str, work, otherwise=None):
        """Returns work(), or `otherwise` where Sluice fails."""
        try:
            result = work()
        except self._errors as error:
            text = str(error) or type(error).__name__
            # A daemon that is down fails every call: the first failure is news, the others are not.
            _log.log(logging.DEBUG if self.last else logging.WARNING, "sluice %s: %s", what, text)
            self.last = f"{what}: {text}"
            return otherwise
        self.last = None
        return result

"""What checks find, told line by line as they go, or as JSON once they have ended."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Generator

from faas_connector.cli.failures import CommandError, one_line
from faas_connector.cli.findings import Finding
from faas_connector.cli.lint import count
from faas_connector.cli.output import say, say_json
from faas_connector.local.stack_nodes import Mistake


class Checklist:
    """Tells each finding, and counts those that failed."""

    def __init__(self, *, as_json: bool) -> None:
        self.failed = 0
        self._found: list[dict[str, object]] | None = [] if as_json else None

    def add(self, finding: Finding, line: str = "") -> None:
        """A check has ended; `line` is how it is told where it is not as the others are."""
        self.failed += not finding.ok
        if self._found is None:
            say(line or str(finding))
        else:
            self._found.append(
                {"result": finding.word, "check": finding.subject, "text": finding.text}
            )

    def add_mistake(self, mistake: Mistake) -> None:
        """A line of a file is wrong."""
        self.add(Finding(False, "stack", one_line(mistake.text)), one_line(str(mistake)))
        if self._found is not None:
            self._found[-1] |= {"file": mistake.path, "line": mistake.line}

    async def add_all(self, findings: AsyncIterator[Finding]) -> None:
        """Tell each as it comes."""
        async for finding in findings:
            self.add(finding)

    def note(self, line: str) -> None:
        """Say a line for people."""
        if self._found is None:
            say(line)

    @contextlib.contextmanager
    def told(self, *, failing: str = "") -> Generator[None]:
        """Tell at the end, whatever that is.

        Args:
            failing: what to say where a check failed; empty for how many did.

        Raises:
            CommandError: a check failed.
        """
        try:
            yield
        finally:
            if self._found is not None:
                say_json(self._found)
        if self.failed:
            failed = f"{count(self.failed, 'check')} failed; mend what is marked above"
            raise CommandError(failing or failed)

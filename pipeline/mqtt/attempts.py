"""When to connect again: what the end of one connection says about the next attempt.

A broker that is killed and one that throws us out for a rival with our client id both close without a word. So the
next attempt follows at once: a dead broker refuses it, a living one takes it, and was asked by somebody else.
"""

from __future__ import annotations

from pipeline.errors import LinkError
from pipeline.mqtt.link import HUNG_UP
from pipeline.retry import Backoff, Retry
from pipeline.units import Duration

__all__ = ["Attempts"]

STABLE = 10.0
"""Seconds after which a connection counts as a good one."""
BRIEF = 1.0
"""Seconds: rivals that come back at once let each other live for less."""
FOUGHT = 3.0
"""Seconds: who is closed on after less is thrown out by a rival as soon as that is back; more is no fight, and a
balancer or a firewall may be the one who ends each connection after its time."""
TAKEN_OVER = "taken over"
SOON = Retry(initial=Duration(0.05), max=Duration(0.05))
"""The pause behind a connection that was closed without a word."""
RIVAL = Retry(initial=Duration(30), max=Duration(600))
"""Pauses after another client has taken our id: two such clients must not throw each other out all the time."""
SUSPICIOUS = 3
"""So many connections in a row that a living broker closes without a word look like a rival's work."""


class Attempts:
    """The attempts of one publisher or receiver."""

    def __init__(self, retry: Retry) -> None:
        """Begin with the shortest pause.

        Args:
            retry: pauses while the broker is away or says no.
        """
        self._backoff, self._soon, self._rival = Backoff(retry), Backoff(SOON), Backoff(RIVAL)
        self._hang_ups = 0
        self._lasted = 0.0

    def failed(self, error: LinkError) -> None:
        """No connection came about: the one before was not closed for a rival's sake.

        Two that throw each other out many times a second also cut each other off before the broker has answered.
        """
        if error.reason != "lost" or self._lasted >= BRIEF:
            self._hang_ups = 0

    def explained(self) -> None:
        """A connection was closed for a reason that the next one does away with."""
        self._backoff.succeed()

    def judge(self, error: LinkError, lasted: float, client_id: str) -> LinkError:
        """Why a connection ended, seen beside those before it.

        Args:
            error: what was seen.
            lasted: seconds.
            client_id: ours, for the advice.
        """
        self._lasted = lasted
        self._hang_ups = self._hang_ups + 1 if error.reason == HUNG_UP and lasted < RIVAL.max else 0
        if self._hang_ups >= SUSPICIOUS:
            # Brokers of MQTT 3.1.1 can't say that another client took over; some of MQTT 5 don't.
            detail = "the broker hangs up on one connection after the other without a word"
            advice = f"does another client use the id '{client_id}'? else the broker's log may say why"
            error = LinkError(TAKEN_OVER if lasted < FOUGHT else HUNG_UP, detail, advice)
        if error.reason != TAKEN_OVER:
            self._rival.succeed()
        if lasted >= STABLE:
            self._backoff.succeed()
        return error

    def pause(self, error: LinkError) -> float:
        """The seconds to wait after this."""
        return {TAKEN_OVER: self._rival, HUNG_UP: self._soon}.get(error.reason, self._backoff).fail()

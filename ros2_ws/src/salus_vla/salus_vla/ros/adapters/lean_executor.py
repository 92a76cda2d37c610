"""An executor for one thread that keeps its wait set, where rclpy's builds two for each callback.

rclpy's SingleThreadedExecutor collects every entity of its nodes for each wait, and wakes itself after each callback,
because another thread might wait for it: half of what a node of this graph did (docs/benchmarks.md). This one looks at
its nodes again only when one of them gains or loses an entity, and calls everything that is ready before it waits
again. Messages, timers and guard conditions are called from here; services, clients, events and coroutines are rclpy's
tasks. Events of publishers and subscriptions (a QoS that does not fit, which rclpy logs) are looked at once a second:
each endpoint has several, and they were half of what a wait cost.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeAlias

from rclpy.context import Context
from rclpy.event_handler import EventHandler
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from rclpy.waitable import NumberOfEntities, Waitable

EVENTS_S = 1.0  # wall time after which events are waited for again
GATHER_S = 0.005  # for a node that only follows: nobody waits for it at each message
_Call: TypeAlias = Callable[[], bool]  # noqa: UP040  # whether there was something to call; Isaac's Python 3.11 runs this


class LeanExecutor(SingleThreadedExecutor):
    """Does what rclpy's SingleThreadedExecutor does, in the same order, for a fraction of the time.

    One call of `spin_once` is one callback. One thread spins; any other may wake it, as with rclpy's.
    """

    def __init__(self, *, context: Context | None = None, gather_s: float = 0.0) -> None:
        """Has no node yet.

        Args:
            context: rclpy's default one if None.
            gather_s: wall time between two waits, so that one wake finds many messages; for nodes that nobody waits
                for at each message [s].
        """
        self._gather_s = gather_s
        self._changed = True
        self._ready: deque[_Call] = deque()
        self._calls: dict[str, dict[int, _Call]] = {}
        self._handles: list[tuple[str, Any]] = []
        self._guards: list[GuardCondition] = []
        self._waitables: list[tuple[Waitable, _Call]] = []
        self._events: list[tuple[Waitable, _Call]] = []
        self._events_at = 0.0  # wall time at which they are due
        self._wait_set: Any = None
        self._adds: list[tuple[Callable[[Any], None], Any]] = []
        self._held = ExitStack()  # the handles of the last look: entering them for each wait was half of its cost
        self._using = threading.Lock()
        super().__init__(context=context)

    def wake(self) -> None:
        """Called by a node that gains or loses an entity, and by futures."""
        self._changed = True
        self._release()
        super().wake()

    def add_node(self, node: Node) -> bool:
        """As rclpy does it."""
        self._changed = True
        return bool(super().add_node(node))

    def remove_node(self, node: Node) -> None:
        """As rclpy does it."""
        self._changed = True
        super().remove_node(node)
        self._release()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """As rclpy does it."""
        done = bool(super().shutdown(timeout_sec))
        self._release()
        return done

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Waits for a callback and calls it; comes back without one after the time, and where it was only woken.

        Args:
            timeout_sec: at most [s]; without an end if None or negative.

        Raises:
            ExternalShutdownException: the context was shut down.
        """
        if self._tasks:
            with self._tasks_lock:
                self._tasks = [item for item in self._tasks if not (item[0].done() or item[0].cancelled())]
        if self._tasks:  # a coroutine is under way: rclpy polls it, and finds again what is ready now
            self._ready.clear()
            super().spin_once(timeout_sec)
            return
        unfinished: Any = self._cb_iter
        if unfinished is not None:
            unfinished.close()
            self._cb_iter = None
        if not self._ready:
            if self._gather_s > 0.0:
                time.sleep(self._gather_s)
            self._wait(-1 if timeout_sec is None or timeout_sec < 0 else int(timeout_sec * 1e9))
        while self._ready:
            if self._ready.popleft()():
                return

    def _wait(self, timeout_ns: int) -> None:
        """Lists what is ready, as soon as something is; -1 waits for it without an end [ns]."""
        with self._using:
            ready = self._wait_for(timeout_ns)
        if ready is None:
            return
        for guard in self._guards:
            if guard.handle.pointer in ready["guard_condition"]:
                guard._executor_triggered = True
        for kind, calls in self._calls.items():  # each in the order in which it was created
            self._ready.extend(calls[pointer] for pointer in ready[kind] if pointer in calls)

    def _wait_for(self, timeout_ns: int) -> dict[str, list[int]] | None:
        """Pointers of what is ready, by kind; None where nobody may be called."""
        if self._changed:
            self._changed = False  # before the look: what changes meanwhile is seen by the next one
            try:
                self._look()
            except InvalidHandle:  # destroyed meanwhile
                self._changed = True
                return None
        waitables = self._due(timeout_ns)
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add, handle in self._adds:
            add(handle)
        for waitable, _ in waitables:
            waitable.add_to_wait_set(wait_set)
        for guard in self._guards:
            if guard._executor_triggered:  # taken from the middleware by an earlier wait, and never called
                guard.trigger()
        wait_set.wait(timeout_ns)
        if self._is_shutdown:
            return None
        if not self._context.ok():
            raise ExternalShutdownException
        self._ready.extend(call for waitable, call in waitables if waitable.is_ready(wait_set))
        return {kind: wait_set.get_ready_entities(kind) for kind in self._calls}

    def _release(self) -> None:
        """Lets go of what the last look holds, unless a thread waits for it; that one is woken, and looks again."""
        if self._using.acquire(blocking=False):
            try:
                self._held.close()
                self._changed = True
            finally:
                self._using.release()

    def _due(self, timeout_ns: int) -> list[tuple[Waitable, _Call]]:
        """The waitables of the next wait; events only where it is long, or they have not been in one for a while."""
        now = time.monotonic()
        if now < self._events_at and 0 <= timeout_ns <= EVENTS_S * 1e9:
            return self._waitables
        self._events_at = now + EVENTS_S
        return [*self._waitables, *self._events]

    def _look(self) -> None:
        """Looks what the nodes have now, and holds it: what is destroyed goes when it is let go of."""
        self._held.close()
        nodes = self.get_nodes()
        # In rclpy's order.
        self._calls = {"timer": {}, "subscription": {}, "guard_condition": {}, "client": {}, "service": {}}
        self._handles = [("guard_condition", guard.handle) for guard in (self._guard, self._sigint_gc) if guard]
        self._guards = [guard for node in nodes for guard in node.guards]
        made = [
            (waitable, partial(self._do_task, waitable, node, self._take_waitable))
            for node in nodes
            for waitable in node.waitables
        ]
        self._waitables = [item for item in made if not isinstance(item[0], EventHandler)]
        self._events = [item for item in made if isinstance(item[0], EventHandler)]
        for node in nodes:
            self._add("timer", node, node.timers, self._take_timer, self._call_timer)
            self._add("subscription", node, node.subscriptions, self._take_subscription, self._call_subscription)
            self._add("guard_condition", node, node.guards, self._take_guard_condition, self._call_guard)
            self._add("client", node, node.clients, self._take_client)
            self._add("service", node, node.services, self._take_service)
        count = NumberOfEntities(*(sum(kind == wanted for kind, _ in self._handles) for wanted in _COUNTED))
        for waitable, _ in made:
            self._held.enter_context(waitable)
            count += waitable.get_num_entities()
        for _, handle in self._handles:
            self._held.enter_context(handle)
        if self._context.handle is not None:
            self._held.enter_context(self._context.handle)
        self._wait_set = _rclpy.WaitSet(
            count.num_subscriptions, count.num_guard_conditions, count.num_timers, count.num_clients,
            count.num_services, count.num_events, self._context.handle,
        )  # fmt: skip
        self._adds = [(getattr(self._wait_set, f"add_{kind}"), handle) for kind, handle in self._handles]

    def _add(
        self,
        kind: str,
        node: Node,
        entities: Iterable[Any],
        take: Callable[[Any], Any],
        call: Callable[[Any], bool] | None = None,
    ) -> None:
        for entity in entities:
            if call is None or inspect.iscoroutinefunction(entity.callback):
                made: _Call = partial(self._do_task, entity, node, take)
            else:
                made = partial(call, entity)
            self._calls[kind][entity.handle.pointer] = made
            self._handles.append((kind, entity.handle))

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _do_task(self, entity: Any, node: Node, take: Callable[[Any], Any]) -> bool:
        """By rclpy's own task, which goes on later where it has to wait."""
        if not self.can_execute(entity):
            return False
        task = self._make_handler(entity, node, take)
        task()
        if task.exception() is not None:
            raise task.exception()
        task.result()
        return True

    @staticmethod
    def _call_subscription(subscription: Subscription) -> bool:
        try:
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        except InvalidHandle:  # a callback before this one destroyed it
            return False
        if taken is None:
            return False
        alone = subscription._callback_type is Subscription.CallbackType.MessageOnly
        subscription.callback(*(taken[:1] if alone else taken))
        return True

    @staticmethod
    def _call_timer(timer: Timer) -> bool:
        try:
            with timer.handle:
                if not timer.handle.is_timer_ready():  # cancelled, or reset, by a callback before this one
                    return False
                timer.handle.call_timer()
        except InvalidHandle:
            return False
        timer.callback()
        return True

    @staticmethod
    def _call_guard(guard: GuardCondition) -> bool:
        if not guard._executor_triggered:
            return False
        guard._executor_triggered = False
        guard.callback()
        return True


_COUNTED = ("subscription", "guard_condition", "timer", "client", "service")  # in the order of NumberOfEntities

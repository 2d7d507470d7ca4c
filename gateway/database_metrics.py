from __future__ import annotations

from dataclasses import replace
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge

from db.connections.replicas import Replicas
from db.database import Database
from db.figures import Figures, PoolUse

_NO_USE = PoolUse(0, 0, 0, 0, 0.0)


class DatabaseMetrics:
    """How the database is used by this process; with several workers, by all of them together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._before: list[Figures] = []
        self._pools_before: dict[str, PoolUse] = {}
        self._reachable = Gauge(
            "billing_database_reachable",
            "Whether the database server answers: 1 or 0. On SQLite always 1",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._connections = Gauge(
            "billing_database_connections",
            "Connections of a pool by state: lent or idle",
            ["pool", "state"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "billing_database_waiting",
            "Reads and writes that wait for a connection of a pool",
            ["pool"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._waits = Counter(
            "billing_database_waits", "Number of waits for a connection of a pool", ["pool"], registry=registry
        )
        self._waited = Counter(
            "billing_database_wait_seconds",
            "Total time of waits for a connection of a pool",
            ["pool"],
            registry=registry,
        )
        self._lost = Counter(
            "billing_database_connections_lost",
            "Number of connections ended because the database server did not answer",
            registry=registry,
        )
        self._rows = Counter("billing_rows_posted", "Number of ledger rows committed", registry=registry)
        self._lock_waits = Counter(
            "billing_lock_waits", "Number of waits for an account that another call had locked", registry=registry
        )
        self._lock_waited = Counter(
            "billing_lock_wait_seconds", "Total time of waits for locked accounts", registry=registry
        )

        self._replica_lag = Gauge(
            "billing_replica_lag_seconds",
            "Upper bound of a replica's lag in seconds; NaN if the replica is not read",
            ["server"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._replica_reads = Counter(
            "billing_replica_reads",
            "Number of reads that a replica may answer, by the server that answered: replica, or primary if no replica"
            " was fresh enough",
            ["server"],
            registry=registry,
        )
        self._reads_before: dict[str, int] = {}

    def read(self, *databases: Database) -> None:
        """Reads the figures of the database, or of all shards: pools and servers of shards after the first have their
        numbers."""
        self._reachable.set(int(all(database.is_reachable for database in databases)))
        self._before += [Figures() for _ in databases[len(self._before) :]]
        for number, database in enumerate(databases):
            self._read_pools(database, f"@{number}" if number else "")
            self._read_figures(number, database)

    def _read_pools(self, database: Database, suffix: str) -> None:
        for pool, use in database.pools.items():
            name = f"{pool}{suffix}"
            before = self._pools_before.get(name, _NO_USE)
            self._connections.labels(name, "lent").set(use.lent)
            self._connections.labels(name, "idle").set(use.idle)
            self._waiting.labels(name).set(use.waiting)
            self._waits.labels(name).inc(use.waits - before.waits)
            self._waited.labels(name).inc(use.waited_seconds - before.waited_seconds)
            self._pools_before[name] = use
        if database.replicas is not None:
            self._read_replicas(database.replicas, suffix)

    def _read_figures(self, number: int, database: Database) -> None:
        now, before_all = database.figures, self._before[number]
        self._rows.inc(now.rows_posted - before_all.rows_posted)
        self._lock_waits.inc(now.lock_waits - before_all.lock_waits)
        self._lock_waited.inc(now.lock_wait_seconds - before_all.lock_wait_seconds)
        self._lost.inc(now.connections_lost - before_all.connections_lost)
        self._before[number] = replace(now)

    def _read_replicas(self, replicas: Replicas, suffix: str) -> None:
        for server, seconds in replicas.lags().items():
            self._replica_lag.labels(f"{server}{suffix}").set(nan if seconds is None else seconds)
        for kind, reads in replicas.reads.items():
            name = f"{kind}{suffix}"
            self._replica_reads.labels(name).inc(reads - self._reads_before.get(name, 0))
            self._reads_before[name] = reads

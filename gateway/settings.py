from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.urls import driver_url
from gateway.origins import parse_origin


def _listed(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


class Settings(BaseSettings):
    """Read from `BILLING_…` in the environment; flags of the command line come before it."""

    model_config = SettingsConfigDict(env_prefix="BILLING_", frozen=True, extra="ignore")

    database_url: str = Field("sqlite:///billing.db", description="SQLite file or PostgreSQL database.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Server processes that share the port.")
    pool_size: int = Field(
        10, ge=1, le=500, description="Database connections of each process, and as many again for reading."
    )
    statement_timeout_seconds: float = Field(
        30.0, gt=0, le=3600, description="Longest time of one statement, on SQLite of one that reads."
    )
    lock_timeout_seconds: float = Field(
        10.0, gt=0, le=600, description="Longest wait for a lock, a connection, or SQLite's writer."
    )
    key_cache_seconds: float = Field(
        2.0, ge=0, le=60, description="How long a key stays known: a revocation takes effect after this at the latest."
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, le=64 * 1_048_576, description="Largest request body.")
    max_depth: int = Field(10, ge=3, le=100, description="Deepest nesting of fields in an operation.")
    max_aliases: int = Field(15, ge=0, le=1000, description="Most aliases in an operation.")
    max_directives: int = Field(50, ge=0, le=1000, description="Most directives in an operation.")
    max_tokens: int = Field(1_000, ge=100, le=100_000, description="Most tokens in a document.")
    document_cache_size: int = Field(
        1_000, ge=0, le=100_000, description="Parsed and validated documents that each process keeps."
    )
    compiled_execution: bool = Field(
        True, description="Run operations as compiled code; if false, by graphql-core's executor alone."
    )
    huge_pages: bool = Field(
        True,
        description="Keep the heap of each process that serves in huge pages of memory, where Linux (6.1 or newer) has"
        " them: an answer takes up to a third less time.",
    )
    shutdown_seconds: float = Field(
        20.0, ge=0, le=600, description="After SIGTERM, how long running requests and streams may take to end."
    )
    connection_init_seconds: float = Field(
        10.0, gt=0, le=300, description="How long a WebSocket may take to send its connection_init."
    )
    heartbeat_seconds: float = Field(
        20.0,
        gt=0,
        le=600,
        description="Silence after which a stream gets a sign of life; a WebSocket must answer within half of it.",
    )
    max_subscriptions: int = Field(
        100, ge=1, le=10_000, description="Most operations that run on a WebSocket at the same time."
    )
    allowed_origins: str | None = Field(
        None,
        description="Origins of other sites whose pages may open WebSockets: https://a.example,https://b.example.",
    )
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token for /metrics; without one, only loopback may read it."
    )

    stripe_secret_key: SecretStr | None = Field(
        None, description="Stripe's secret key; without one, nobody can top up and auto-recharge rests."
    )
    stripe_webhook_secrets: SecretStr | None = Field(
        None, description="Signing secrets of Stripe's webhook, separated by commas: several while one is rotated."
    )
    stripe_api_base: str = Field("https://api.stripe.com", description="Where Stripe's API is.")
    stripe_timeout_seconds: float = Field(20.0, gt=0, le=120, description="Longest wait for an answer of Stripe's.")
    stripe_retries: int = Field(
        1, ge=0, le=10, description="How often a call of Stripe's that got no answer is sent again at once."
    )
    stripe_tolerance_seconds: int = Field(300, ge=1, le=3600, description="How old the signature of an event may be.")

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        for one in _listed(value):
            if parse_origin(one) is None:
                msg = "must be scheme://host or scheme://host:port, several separated by commas"
                raise ValueError(msg)
        return value

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(_listed(self.allowed_origins))

    worker_interval_seconds: float = Field(5.0, ge=0.1, le=3600, description="How often the worker looks for work.")
    settlement_delay_seconds: float = Field(
        600.0,
        ge=0,
        le=86_400,
        description="How long after its end a day of storage, or an instance's cycle, is billed: late reports count.",
    )
    hold_grace_seconds: float = Field(
        86_400.0, ge=60, le=30 * 86_400, description="How long after its time an open hold expires that nobody settled."
    )
    worker_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of the worker's /metrics and /healthz; 0 for none."
    )

    def webhook_secrets(self) -> list[str]:
        given = self.stripe_webhook_secrets.get_secret_value() if self.stripe_webhook_secrets else ""
        return [secret.strip() for secret in given.split(",") if secret.strip()]

    def stripe_livemode(self) -> bool | None:
        """Whether the secret key moves real money; None if it doesn't tell."""
        key = self.stripe_secret_key.get_secret_value() if self.stripe_secret_key else ""
        kinds = {"sk_live_": True, "rk_live_": True, "sk_test_": False, "rk_test_": False}
        return next((live for prefix, live in kinds.items() if key.startswith(prefix)), None)

    @field_validator("stripe_api_base")
    @classmethod
    def _http_address(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            msg = "must begin with https://, or http:// for a stand-in"
            raise ValueError(msg)
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        driver_url(value)
        return value

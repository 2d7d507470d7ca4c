from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from db.connections.urls import DatabaseUrls, check_set_of_urls, driver_url, numbered_urls
from db.shards import MAX_SHARDS
from gateway.networks import Networks, parse_networks
from gateway.origins import Origin, is_confidential, parse_origin

PRODUCTION: Final[dict[str, Any]] = {"introspection": False, "suggestions": False, "graphiql": False}
"""Values that the production profile sets."""


def _listed(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def _origins(text: str | None) -> frozenset[Origin]:
    parsed = map(parse_origin, _listed(text))
    return frozenset(one for one in parsed if one is not None)


def _is_redis_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.path) if parts.scheme == "unix" else parts.scheme in {"redis", "rediss"} and bool(parts.hostname)


def _has_credentials(url: str) -> bool:
    """Whether there may be a user or a password in the URL, even if a special character in it was not escaped."""
    scheme, separator, rest = url.partition("://")
    return bool(separator) and "@" in rest and scheme != "file"


class Settings(BaseSettings):
    """Read from `BILLING_…` in the environment; flags of the command line come before it."""

    model_config = SettingsConfigDict(env_prefix="BILLING_", frozen=True, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leaves out the sources that are files: each takes as long as the environment, and no setting is in one."""
        return init_settings, env_settings

    database_url: str = Field("sqlite:///billing.db", description="URL of the SQLite file or the PostgreSQL database.")
    direct_database_url: str | None = Field(
        None,
        description="URL of the PostgreSQL database behind the pooler. Required if database_url names a pooler in"
        " transaction mode, such as PgBouncer. Migrations, LISTEN and the worker's lock use it.",
    )
    read_database_urls: str | None = Field(
        None,
        description="URLs of streaming replicas of the PostgreSQL database, separated by spaces. Queries and"
        " exports read from a replica that has what their client has seen.",
    )
    shards: str | None = Field(
        None,
        description="URLs of further databases, in their order, separated by spaces: each is a shard with accounts of"
        " its own, and database_url is shard 0. `billing-gateway migrate` makes them a set.",
    )
    direct_shards: str | None = Field(
        None,
        description="URLs of the PostgreSQL databases behind the poolers of these shards, separated by spaces, each"
        " with the shard's number: 1=postgresql://db1/billing. That of shard 0 is direct_database_url.",
    )
    read_shards: str | None = Field(
        None,
        description="URLs of streaming replicas of these shards, separated by spaces, each with the shard's number:"
        " 1=postgresql://replica1/billing. Those of shard 0 are read_database_urls.",
    )
    max_replica_lag_seconds: float = Field(
        10.0, gt=0, le=3600, description="Maximum lag of a replica. A replica that is further behind is not read."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 selects a free port.")
    workers: int = Field(1, ge=1, le=64, description="Number of server processes that share the port.")
    pool_size: int = Field(
        10,
        ge=1,
        le=500,
        description="Size of each process's connection pool for writing; the pool for reading has the same size.",
    )
    statement_timeout_seconds: float = Field(
        30.0, gt=0, le=3600, description="Maximum duration of one statement; on SQLite, only of statements that read."
    )
    lock_timeout_seconds: float = Field(
        10.0, gt=0, le=600, description="Maximum wait for a lock, a connection, or SQLite's writer."
    )
    operation_timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Maximum duration of a GraphQL operation, a REST page or one step of an export. Its statements are"
        " then canceled at the database.",
    )
    database_silence_seconds: float = Field(
        2.0,
        ge=0.5,
        le=60,
        description="How long a PostgreSQL server may fail to answer before it counts as down. A server that is busy"
        " with a long statement still answers.",
    )
    key_cache_seconds: float = Field(
        2.0,
        ge=0,
        le=60,
        description="How long a process caches an API key. A revoked key is refused after this time at the latest.",
    )
    max_body_bytes: int = Field(
        1_048_576, ge=1024, le=64 * 1_048_576, description="Maximum size of a request body in bytes."
    )
    max_depth: int = Field(10, ge=3, le=100, description="Maximum depth of nested fields in an operation.")
    max_aliases: int = Field(15, ge=0, le=1000, description="Maximum number of aliases in an operation.")
    max_directives: int = Field(50, ge=0, le=1000, description="Maximum number of directives in an operation.")
    max_tokens: int = Field(1_000, ge=100, le=100_000, description="Maximum number of tokens in a document.")
    max_document_bytes: int = Field(
        65_536,
        ge=1_024,
        le=1_048_576,
        description="Maximum size of a GraphQL document in bytes, without its variables.",
    )
    max_cost: int = Field(
        12_000,
        ge=1_000,
        le=10_000_000,
        description="Maximum cost of an operation in points. 100 points are about 1 ms.",
    )
    points_per_second: int = Field(
        10_000,
        ge=100,
        le=100_000_000,
        description="Points that a read or manage key may spend each second. Ten times as many can be spent at once.",
    )
    service_points_per_second: int = Field(
        200_000, ge=100, le=100_000_000, description="Points that a service key may spend each second."
    )
    operator_points_per_second: int = Field(
        50_000, ge=100, le=100_000_000, description="Points that an operator key may spend each second."
    )
    rate_limit_url: SecretStr | None = Field(
        None,
        description="URL of the Redis server in which all processes share the points of a key, redis://host:6379/0, or"
        " rediss:// for TLS. Without it, each process counts by itself. Requires the extra billing-gateway[redis].",
    )
    rate_limit_timeout_seconds: float = Field(
        0.05,
        gt=0,
        le=10,
        description="Maximum wait for Redis. Then the process counts the points of the key by itself.",
    )
    slots_per_key: int = Field(
        4, ge=1, le=500, description="Number of reading operations that a read or manage key runs at the same time."
    )
    slots_per_account: int = Field(
        6, ge=1, le=500, description="Number of reading operations that all keys of an account run at the same time."
    )
    queue_per_key: int = Field(
        200, ge=0, le=100_000, description="Number of reading operations of a key that wait for a slot."
    )
    refusals_per_second: int = Field(
        100,
        ge=1,
        le=1_000_000,
        description="Number of refused requests that are answered without delay in a second, for each key and for"
        " each address without a valid key. Answers to further ones are delayed by up to 5 seconds.",
    )
    messages_per_second: int = Field(
        1_000,
        ge=1,
        le=1_000_000,
        description="Number of WebSocket messages that are read without delay in a second for each key. Further"
        " messages are read up to 5 seconds later.",
    )
    document_cache_size: int = Field(
        1_000, ge=0, le=100_000, description="Number of parsed and validated documents that each process caches."
    )
    document_cache_bytes: int = Field(
        64 * 1_048_576,
        ge=1_048_576,
        le=16 * 1_073_741_824,
        description="Maximum memory in bytes, as estimated, of the documents that each process caches.",
    )
    trusted_documents: str | None = Field(
        None, description="Path of a JSON file of trusted documents, which maps the SHA-256 of each text to the text."
    )
    trusted_documents_only: bool = Field(
        False, description="Run only trusted documents: those of the file, and those of the Billing page."
    )
    price_file: str | None = Field(
        None, description="Path of a TOML file with the prices of models, for usage that is recorded without a cost."
    )
    persisted_query_bytes: int = Field(
        4 * 1_048_576,
        ge=0,
        le=1_073_741_824,
        description="Maximum size in bytes of the persisted queries that each process keeps; 0 disables them.",
    )
    answer_max_age_seconds: int = Field(
        0,
        ge=0,
        le=3600,
        description="How long a client may reuse the answer to a GET that names its document; 0 makes it ask each time"
        " whether the answer has changed.",
    )
    profile: Literal["development", "production"] = Field(
        "development",
        description="The production profile disables introspection, suggestions and GraphiQL, unless their own settings"
        " enable them.",
    )
    introspection: bool = Field(True, description="Answer queries for the schema: __schema and __type.")
    suggestions: bool = Field(
        True, description='Suggest names of the schema in errors: "Did you mean …?" for a field that does not exist.'
    )
    graphiql: bool = Field(True, description="Serve GraphiQL to browsers at /graphql.")
    federation: bool = Field(
        False, description="Serve the schema as a subgraph of Apollo Federation 2, with _service and _entities."
    )
    compiled_execution: bool = Field(
        True, description="Run operations as compiled code. If false, use graphql-core's executor."
    )
    shutdown_seconds: float = Field(
        20.0, ge=0, le=600, description="Maximum time for running requests and streams to finish after SIGTERM."
    )
    header_timeout_seconds: float = Field(
        15.0,
        gt=0,
        le=600,
        description="Maximum time for the request line and the headers, from the opening of the connection or from"
        " the first byte of a later request.",
    )
    body_timeout_seconds: float = Field(
        60.0, gt=0, le=3600, description="Maximum time for a request body, from the end of its headers."
    )
    anonymous_body_timeout_seconds: float = Field(
        10.0, gt=0, le=600, description="Maximum time for a request body that is sent without a key: sign-in, webhooks."
    )
    idle_timeout_seconds: float = Field(
        75.0,
        gt=0,
        le=86_400,
        description="How long a connection stays open between requests. It must be longer than the time for which a"
        " proxy keeps idle connections open.",
    )
    write_timeout_seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Time after which a connection is closed if its client does not read the response, or reads less"
        " than the minimum rate.",
    )
    min_bytes_per_second: int = Field(
        200,
        ge=0,
        le=1_048_576,
        description="Minimum average rate at which a client must send a body, after 5 seconds, and read a response.",
    )
    max_connections: int = Field(
        10_000,
        ge=10,
        le=1_000_000,
        description="Maximum number of open connections of each process. At the limit, a new connection replaces one"
        " that has no request in progress.",
    )
    max_connections_per_address: int = Field(
        2_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of open connections from one client address to each process; behind trusted"
        " proxies, of requests and streams in progress.",
    )
    trusted_proxies: str = Field(
        "127.0.0.0/8,::1/128",
        description="Networks of the proxies whose X-Forwarded-For tells a client's address, separated by commas.",
    )
    max_webhook_bytes: int = Field(
        262_144, ge=1024, le=64 * 1_048_576, description="Maximum size of the body of a webhook in bytes."
    )
    max_anonymous_bodies: int = Field(
        256,
        ge=1,
        le=100_000,
        description="Maximum number of request bodies without a key that each process reads at the same time.",
    )
    compress_min_bytes: int = Field(
        16_384,
        ge=0,
        le=64 * 1_048_576,
        description="Minimum size in bytes of a JSON response that is compressed if the client accepts it; 0 disables"
        " compression, also of CSV.",
    )
    connection_init_seconds: float = Field(
        10.0, gt=0, le=300, description="Maximum wait for the connection_init message of a WebSocket."
    )
    heartbeat_seconds: float = Field(
        20.0,
        gt=0,
        le=600,
        description="Time without messages after which a stream sends a heartbeat. A WebSocket client must answer"
        " within half of this time.",
    )
    max_subscriptions: int = Field(
        100, ge=1, le=10_000, description="Maximum number of operations that run on one WebSocket at the same time."
    )
    max_streams_per_key: int = Field(
        2_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of operations that one API key runs over WebSockets and event streams of each"
        " process.",
    )
    replay_slots: int = Field(
        4,
        ge=1,
        le=1_000,
        description="Number of subscriptions of each process that read past rows at the same time; others take turns.",
    )
    replay_slots_per_key: int = Field(
        2,
        ge=1,
        le=1_000,
        description="Number of subscriptions of one API key that read past rows at the same time in each process.",
    )
    max_replays: int = Field(
        5_000,
        ge=1,
        le=1_000_000,
        description="Maximum number of subscriptions of each process that read past rows or wait for their turn.",
    )
    pdf_slots: int = Field(
        1, ge=1, le=64, description="Number of PDF statements that each process makes at the same time."
    )
    pdf_timeout_seconds: float = Field(
        300.0, gt=0, le=3600, description="Maximum time to make a PDF statement, once it has its turn."
    )
    allowed_origins: str | None = Field(
        None,
        description="Other origins whose pages may send requests with a key, read the answers, exports and event"
        " streams, and open WebSockets, separated by commas: https://a.example,https://b.example.",
    )
    allowed_return_origins: str | None = Field(
        None,
        description="Origins that successUrl and cancelUrl of createTopUp, and returnUrl of createBillingPortalSession,"
        " may have, separated by commas: https://a.example,https://b.example. Without it, every https address is"
        " allowed, and http for localhost.",
    )
    public_url: str | None = Field(
        None,
        description="Origin under which browsers reach this gateway, https://billing.example.com: sign-in links begin"
        " with it. Without it they begin with /console/.",
    )
    oidc_issuer: str | None = Field(
        None,
        description="Issuer of the OpenID Connect provider that signs operators' staff in to the console. Requires"
        " public_url, oidc_client_id, oidc_client_secret and oidc_operators.",
    )
    oidc_client_id: str | None = Field(None, description="Client id of the gateway at the OpenID Connect provider.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="Client secret of the gateway at the OpenID Connect provider."
    )
    oidc_operators: str | None = Field(
        None,
        description="Verified e-mail addresses of the people who may sign in as operators, separated by commas.",
    )
    request_detail_days: int = Field(
        35,
        ge=0,
        le=3650,
        description="How many days requests are kept in full, by the time that each request names; 0 keeps none. Usage"
        " by hour and by day is kept forever.",
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="Log format: one JSON object per line, or text for people."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Minimum log level.")
    metrics_token: SecretStr | None = Field(
        None,
        description="Bearer token for /metrics. Without a token, /metrics can be read only from loopback and not"
        " through a proxy.",
    )

    tracing: bool = Field(
        False,
        description="Send traces of requests, operations and statements by OpenTelemetry, as its OTEL_… variables say."
        " Requires the extra billing-gateway[otel].",
    )

    stripe_secret_key: SecretStr | None = Field(
        None, description="Stripe's secret key. Without it, top-ups and auto-recharge are disabled."
    )
    stripe_webhook_secrets: SecretStr | None = Field(
        None,
        description="Signing secrets of the Stripe webhook, separated by commas. List both secrets while one is"
        " rotated.",
    )
    stripe_api_base: str = Field("https://api.stripe.com", description="Base URL of the Stripe API.")
    stripe_timeout_seconds: float = Field(20.0, gt=0, le=120, description="Maximum wait for an answer from Stripe.")
    stripe_retries: int = Field(
        1, ge=0, le=10, description="Number of immediate retries if Stripe does not answer a call."
    )
    stripe_tolerance_seconds: int = Field(300, ge=1, le=3600, description="Maximum age of a Stripe event's signature.")

    @model_validator(mode="before")
    @classmethod
    def _profiled(cls, given: dict[str, Any]) -> dict[str, Any]:
        return (PRODUCTION | given) if given.get("profile") == "production" else given

    @field_validator("allowed_origins", "allowed_return_origins")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        for one in _listed(value):
            if parse_origin(one) is None:
                msg = "must be scheme://host or scheme://host:port; separate several with commas"
                raise ValueError(msg)
        return value

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if value is not None and parse_origin(value) is None:
            raise ValueError("must be scheme://host or scheme://host:port, without a path")
        return value

    @field_validator("rate_limit_url")
    @classmethod
    def _leads_to_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_redis_url(value.get_secret_value()):
            raise ValueError("must be redis://host:port/number, rediss:// for TLS, or unix:// for a socket")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @model_validator(mode="after")
    def _has_a_whole_provider(self) -> Settings:
        given = (self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret, self.oidc_operators)
        if any(one is not None for one in given) and (None in given or self.public_url is None):
            msg = "oidc_issuer, oidc_client_id, oidc_client_secret, oidc_operators and public_url go together"
            raise ValueError(msg)
        if self.oidc_issuer is not None and not is_confidential(self.oidc_issuer):
            raise ValueError("oidc_issuer must be an https address; http is allowed only for this machine")
        return self

    @property
    def oidc_operators_listed(self) -> frozenset[str]:
        return frozenset(one.lower() for one in _listed(self.oidc_operators))

    @property
    def trusted_networks(self) -> Networks:
        return parse_networks(self.trusted_proxies)

    @property
    def origins(self) -> frozenset[Origin]:
        return _origins(self.allowed_origins)

    @property
    def return_origins(self) -> frozenset[Origin]:
        return _origins(self.allowed_return_origins)

    worker_interval_seconds: float = Field(5.0, ge=0.1, le=3600, description="How often the worker looks for work.")
    settlement_delay_seconds: float = Field(
        600.0,
        ge=0,
        le=86_400,
        description="Delay before an ended day of storage or an ended instance cycle is billed, so that late reports"
        " count.",
    )
    hold_grace_seconds: float = Field(
        86_400.0,
        ge=60,
        le=30 * 86_400,
        description="How long after its end an open hold expires if it was not settled.",
    )
    verify_hour: int = Field(
        3,
        ge=-1,
        le=23,
        description="Hour of the day (UTC) from which the worker verifies all accounts, once a day; -1 disables it.",
    )
    archive_url: str | None = Field(
        None,
        description="Folder or URL of the storage of the archive's files, such as /var/lib/billing/archive or"
        " s3://bucket/archive. All processes need it once rows were moved there. Requires the extra"
        " billing-gateway[archive].",
    )
    archive_after_days: int = Field(
        730, ge=31, le=36_500, description="Age in days from which ledger rows are copied to the archive."
    )
    worker_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port for the worker's /metrics and /healthz; 0 disables them."
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
            msg = "must begin with https://, or with http:// for a test server"
            raise ValueError(msg)
        return value.rstrip("/")

    @field_validator("database_url", "direct_database_url")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value is not None:
            driver_url(value)
        return value

    @field_validator("read_database_urls", "shards")
    @classmethod
    def _known_databases(cls, value: str | None) -> str | None:
        for url in (value or "").split():
            driver_url(url)
        return value

    @property
    def shard_urls(self) -> tuple[str, ...]:
        return tuple((self.shards or "").split())

    @field_validator("archive_url")
    @classmethod
    def _has_no_credentials(cls, url: str | None) -> str | None:
        if url is not None and _has_credentials(url):
            # Errors name the files, and so would tell them.
            raise ValueError("must have no user, password or @: storage takes credentials from its own variables")
        return url

    @model_validator(mode="after")
    def _has_few_shards(self) -> Settings:
        if len(self.shard_urls) >= MAX_SHARDS:
            msg = f"shards must name at most {MAX_SHARDS - 1} databases"
            raise ValueError(msg)
        return self

    @property
    def database_urls(self) -> tuple[DatabaseUrls, ...]:
        """URLs of the database, or of all shards in their order."""
        direct, read = self._of_shards("direct_shards"), self._of_shards("read_shards")
        first = DatabaseUrls(
            self.database_url, self.direct_database_url, tuple((self.read_database_urls or "").split())
        )
        others = (
            DatabaseUrls(url, next(iter(direct.get(number, ())), None), read.get(number, ()))
            for number, url in enumerate(self.shard_urls, 1)
        )
        return (first, *others)

    def _of_shards(self, name: str) -> dict[int, tuple[str, ...]]:
        """Returns the URLs of a setting by the numbers of their shards. Raises ValueError for an unknown
        shard."""
        found = numbered_urls(name, getattr(self, name) or "")
        if 0 in found:
            first = "direct_database_url" if name == "direct_shards" else "read_database_urls"
            msg = f"{name}: that of shard 0 is {first}"
            raise ValueError(msg)
        for number in found:
            if number > len(self.shard_urls):
                msg = f"{name}: there is no shard {number} in shards"
                raise ValueError(msg)
        return found

    @model_validator(mode="after")
    def _leads_to_postgresql(self) -> Settings:
        if any(len(urls) > 1 for urls in self._of_shards("direct_shards").values()):
            raise ValueError("direct_shards: each shard has one URL")
        for number, urls in enumerate(self.database_urls):
            try:
                urls.check()
            except ValueError as error:
                raise ValueError(f"shard {number}: {error}" if self.shard_urls else str(error)) from None
        return self

    @model_validator(mode="after")
    def _names_each_database_once(self) -> Settings:
        check_set_of_urls(self.database_urls)
        return self

from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import BAD_INPUT, EVENTS, NO_KEY, Expected, Group, Held, Probe, query

STREAMS: Final = Group(
    "Streams",
    [
        Probe(
            "subscription without a stream",
            "A subscription as a plain request never ends.",
            "a subscription with `Accept: application/json`",
            query("subscription { balanceChanged { __typename } }", "Accept: application/json"),
            BAD_INPUT,
        ),
        Probe(
            "Last-Event-ID",
            "A position that was made up replays the whole ledger.",
            "`Last-Event-ID: AAAA`",
            query("subscription { balanceChanged { __typename } }", EVENTS, "Last-Event-ID: AAAA"),
            Expected(200, "BAD_CURSOR"),
        ),
        Probe(
            "stream without a key",
            "An event stream is opened without a key.",
            "`Accept: text/event-stream` without `Authorization`",
            query("subscription { balanceChanged { __typename } }", EVENTS, key=None),
            NO_KEY,
        ),
        Held(
            "A page of another origin opens a WebSocket.",
            "`Origin: https://evil.example`",
            "403 `FORBIDDEN`",
            "tests/gateway/streams/test_websocket.py::test_pages_of_other_origins_open_no_socket",
        ),
        Held(
            "A socket that never authenticates stays open.",
            "no `connection_init`",
            "close code 4408",
            "tests/gateway/streams/test_websocket.py::test_a_socket_without_connection_init_times_out",
        ),
        Held(
            "One socket starts any number of operations.",
            "more operations than `BILLING_MAX_SUBSCRIPTIONS`",
            "`QUERY_TOO_COMPLEX` for that operation",
            "tests/gateway/streams/test_websocket.py::test_a_socket_has_a_bound_on_its_operations",
        ),
        Held(
            "A message fills the memory.",
            "a message larger than `BILLING_MAX_BODY_BYTES`",
            "close code 1009",
            "tests/gateway/streams/test_websocket.py::test_a_message_larger_than_a_request_may_be_closes_the_socket",
        ),
        Held(
            "A client that does not read fills the memory.",
            "a stream that takes nothing",
            "the stream is cut off",
            "tests/gateway/streams/test_event_stream.py::test_a_client_that_takes_nothing_for_long_is_cut_off",
        ),
        Held(
            "A client that is gone keeps its subscription.",
            "a peer that does not answer the heartbeat",
            "the socket is closed",
            "tests/gateway/streams/test_websocket.py::test_a_peer_that_does_not_answer_the_heartbeat_is_closed",
        ),
        Held(
            "A stream goes on after its key was revoked.",
            "a key that ends while its streams run",
            "the streams end, others stay",
            "tests/gateway/streams/test_event_stream.py::test_an_ended_key_ends_its_streams_and_no_others",
        ),
    ],
)

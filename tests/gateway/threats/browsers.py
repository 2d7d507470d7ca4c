from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import (
    EVENTS,
    HTML,
    NO_KEY,
    NO_STORE,
    NOT_FOUND,
    Expected,
    Group,
    Held,
    Probe,
    get,
    post,
    query,
)

_EVIL: Final = "Origin: https://evil.example"
_SAFE_PAGE: Final = (
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)

BROWSERS: Final = Group(
    "Console pages and browsers",
    [
        Probe(
            "text of an address",
            "Text of an address becomes part of a page.",
            "`GET /console/<script>` in a browser",
            get("/console/%3Cscript%3E", HTML, key=None),
            Expected(404, headers=_SAFE_PAGE),
        ),
        Probe(
            "form",
            "A form of another site sends an operation (CSRF).",
            "`Content-Type: text/plain` with an operation",
            post("/graphql", {"query": "{ viewer { scope } }"}, _EVIL, content_type="text/plain"),
            Expected(415, "UNSUPPORTED_MEDIA_TYPE"),
        ),
        Probe(
            "upload form",
            "A form of another site sends an operation as an upload.",
            "`Content-Type: multipart/form-data`",
            post("/graphql", b"--a--", _EVIL, content_type="multipart/form-data; boundary=a"),
            Expected(415, "UNSUPPORTED_MEDIA_TYPE"),
        ),
        Probe(
            "POST with the cookie",
            "A page of another site uses the cookie for an operation.",
            "`POST /graphql` with the cookie",
            query("{ viewer { scope } }", "Cookie: billing_stream=<stream token>", key=None),
            NO_KEY,
        ),
        Probe(
            "stream from another origin",
            "A page of another site reads a stream by the cookie.",
            "an event stream with the cookie and `Origin: https://evil.example`",
            get(
                "/graphql?query=%7Bviewer%7Bscope%7D%7D",
                EVENTS,
                _EVIL,
                "Cookie: billing_stream=<stream token>",
                key=None,
            ),
            Expected(403, "FORBIDDEN"),
        ),
        Probe(
            "stream from another page of the site",
            "A page of a neighbouring host uses the cookie, which `SameSite` allows.",
            "an event stream with the cookie and `Sec-Fetch-Site: same-site`",
            get(
                "/graphql?query=%7Bviewer%7Bscope%7D%7D",
                EVENTS,
                "Sec-Fetch-Site: same-site",
                "Cookie: billing_stream=<stream token>",
                key=None,
            ),
            Expected(403, "FORBIDDEN"),
        ),
        Probe(
            "session from another origin",
            "A page of another site sets a cookie.",
            "`POST /graphql/session` with `Origin: https://evil.example`",
            post("/graphql/session", {}, _EVIL),
            Expected(403, "FORBIDDEN", without=("Set-Cookie",)),
        ),
        Probe(
            "reading from another origin",
            "A page of another site reads answers (CORS).",
            "an operation with `Origin: https://evil.example`",
            query("{ viewer { scope } }", _EVIL),
            Expected(200, without=("Access-Control-Allow-Origin",)),
        ),
        Probe(
            "preflight",
            "A page of another site is allowed to send a key.",
            "`OPTIONS /graphql` with `Access-Control-Request-Method`",
            get("/graphql", _EVIL, "Access-Control-Request-Method: POST", key=None, method="OPTIONS"),
            Expected(405, "METHOD_NOT_ALLOWED", without=("Access-Control-Allow-Origin",)),
        ),
        Held(
            "A page of another site reads answers because a partner's page may (CORS).",
            "`Origin: https://evil.example` with `BILLING_ALLOWED_ORIGINS` of a partner",
            "no `Access-Control-Allow-Origin`, `Vary: Origin`; 405 for a preflight",
            "tests/gateway/test_cross_origin.py::test_no_other_page_may_send_a_key_or_read_an_answer",
        ),
        Held(
            "A partner's page uses the cookie of event streams or signs in to the console.",
            "`/graphql/session`, `/console/sign-in`, `/metrics` and others with an allowed `Origin`",
            "no `Access-Control-Allow-Origin`; never `Access-Control-Allow-Credentials`",
            "tests/gateway/test_cross_origin.py::test_other_paths_are_not_shared",
        ),
        Held(
            "A setting allows every origin, or another than was meant.",
            "`BILLING_ALLOWED_ORIGINS` with `*`, `null`, a path, a user or a wildcard",
            "the gateway does not start",
            "tests/gateway/test_origins.py::test_a_malformed_origin_is_refused_at_the_start",
        ),
        Probe(
            "path traversal",
            "An address of a script reads another file.",
            "`GET /static/billing/..%2f..%2fsettings.py`",
            get("/static/billing/..%2f..%2fsettings.py", key=None),
            NOT_FOUND,
        ),
        Probe(
            "cached answer",
            "A shared cache keeps an answer for the next customer.",
            "any operation",
            query("{ viewer { scope } }"),
            Expected(200, headers=(NO_STORE,)),
        ),
        Held(
            "A script of another host runs in the console.",
            "the policy of the console's pages",
            "only `'self'` and `'none'`",
            "tests/gateway/test_pages.py::test_the_console_s_policy_allows_nothing_unsafe_and_no_other_host",
        ),
        Held(
            "A script of another host runs in GraphiQL.",
            "the policy of GraphiQL",
            "no `unsafe-eval`, no other host",
            "tests/gateway/test_pages.py::test_policy_is_strict",
        ),
        Held(
            "A script reads the cookie of streams, or it leaves its path.",
            "`POST /graphql/session`",
            "`HttpOnly`, `SameSite=Strict`, `Path=/graphql`",
            "tests/gateway/streams/test_session.py"
            "::test_the_cookie_is_for_streams_of_this_origin_and_out_of_reach_for_scripts",
        ),
        Held(
            "The cookie is sent without TLS.",
            "`POST /graphql/session` with `X-Forwarded-Proto: https`",
            "`Secure`",
            "tests/gateway/streams/test_session.py::test_the_cookie_is_secure_where_the_browser_sees_https",
        ),
        Held(
            "A description runs a script in the console (XSS).",
            "rows with markup as their texts",
            "shown as text",
            "tests/console/test_odd_input.py::test_amounts_and_descriptions_of_any_kind",
        ),
        Held(
            "The next user of a computer finds the key.",
            "a sign-in to the console",
            "kept in the tab only",
            "tests/console/test_signing_in.py::test_a_pasted_key_signs_in_and_stays_in_the_tab_alone",
        ),
        Held(
            "A key that a new tab gets from an open one stays in the browser, or stays after a sign-out.",
            "three tabs, a sign-out in one, and a new tab when all are closed",
            "all tabs are signed out; the new tab asks for a key",
            "tests/console/test_signing_in.py::"
            "test_a_new_tab_gets_the_key_from_an_open_one_and_the_last_tab_takes_it_along",
        ),
        Held(
            "The code of a sign-in link stays in the history.",
            "a sign-in by a link",
            "the code leaves the address",
            "tests/console/test_signing_in.py::test_a_link_signs_in_once_and_its_code_leaves_the_address",
        ),
    ],
)

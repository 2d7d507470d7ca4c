from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import BAD_HTTP, SMUGGLED, Expected, Group, Held, Probe, Raw, framed, get

FRAMING: Final = Group(
    "HTTP framing",
    [
        Probe(
            "length and chunks",
            "A proxy and the gateway see different ends of a request.",
            "`Content-Length` and `Transfer-Encoding: chunked`",
            framed("Content-Length: 5", "Transfer-Encoding: chunked", body=f"0\r\n\r\n{SMUGGLED}"),
            BAD_HTTP,
        ),
        Probe(
            "two lengths",
            "A proxy and the gateway read different lengths.",
            "`Content-Length: 0` and `Content-Length: 38`",
            framed("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
            BAD_HTTP,
        ),
        Probe(
            "signed length",
            "A length that only one side can read hides a request.",
            "`Content-Length: +38`",
            framed(f"Content-Length: +{len(SMUGGLED)}", body=SMUGGLED),
            BAD_HTTP,
        ),
        Probe(
            "unknown transfer coding",
            "A transfer coding that only one side knows hides a request.",
            "`Transfer-Encoding: xchunked`",
            framed("Transfer-Encoding: xchunked", body=f"0\r\n\r\n{SMUGGLED}"),
            BAD_HTTP,
        ),
        Probe(
            "chunk size",
            "A chunk size that only one side can read hides a request.",
            "a chunk of size `0x5`",
            framed("Content-Type: application/json", "Transfer-Encoding: chunked", body="0x5\r\nhello\r\n0\r\n\r\n"),
            BAD_HTTP,
        ),
        Probe(
            "chunk line",
            "A chunk size that ends with a line feed only hides a request.",
            "a chunk size and `\\n`",
            framed("Content-Type: application/json", "Transfer-Encoding: chunked", body="5\nhello\r\n0\r\n\r\n"),
            BAD_HTTP,
        ),
        Probe(
            "line feed",
            "Lines that end with a line feed only hide a header.",
            "`X-One: a\\nX-Two: b`",
            framed("X-One: a\nX-Two: b"),
            BAD_HTTP,
        ),
        Probe(
            "large length",
            "A length overflows.",
            "`Content-Length: 99999999999999999999999`",
            framed("Content-Length: 99999999999999999999999"),
            BAD_HTTP,
        ),
        Probe(
            "two hosts",
            "A proxy and the gateway see different hosts.",
            "`Host: a` and `Host: b`",
            framed("Host: b"),
            BAD_HTTP,
        ),
        Probe(
            "folded header",
            "A folded header hides another one.",
            "a header line that begins with a blank",
            framed("X-One: 1", " Content-Length: 38", body=SMUGGLED),
            BAD_HTTP,
        ),
        Probe(
            "blank before the colon",
            "A header name with a blank passes a proxy's filter.",
            "`Content-Length : 38`",
            framed(f"Content-Length : {len(SMUGGLED)}", body=SMUGGLED),
            BAD_HTTP,
        ),
        Probe(
            "NUL in a header",
            "A NUL character ends a header for one side only.",
            "`X-One: a\\0b`",
            framed("X-One: a\0b"),
            BAD_HTTP,
        ),
        Probe(
            "long header",
            "Long headers fill the memory.",
            "a header of 9,000 bytes",
            framed("X-One: " + "a" * 9_000),
            BAD_HTTP,
        ),
        Probe(
            "HTTP/2",
            "Another protocol is taken for a request.",
            "the preface of HTTP/2",
            Raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            BAD_HTTP,
        ),
        Probe(
            "TRACE",
            "TRACE repeats headers that a proxy added.",
            "`TRACE /graphql`",
            get("/graphql", method="TRACE"),
            Expected(405, "METHOD_NOT_ALLOWED"),
        ),
        Probe(
            "body of a GET",
            "A body that nobody reads is the next request.",
            "`GET /healthz` with a request as its body",
            Raw(
                f"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n"
                f"{SMUGGLED}".encode()
            ),
            Expected(200, body='{"status": "ok"}'),
        ),
        Probe(
            "method override",
            "A GET is carried out as a POST.",
            "`X-HTTP-Method-Override: POST` with a mutation",
            get("/graphql?query=mutation%7B__typename%7D", "X-HTTP-Method-Override: POST"),
            Expected(405, "METHOD_NOT_ALLOWED", (("Allow", "POST"),)),
        ),
        Probe(
            "line break in a redirect",
            "A line break in an address sets a header.",
            "`GET /console?a=%0d%0aSet-Cookie:%20b=c`",
            get("/console?a=%0d%0aSet-Cookie:%20b=c", key=None),
            Expected(308, without=("Set-Cookie",)),
        ),
        Probe(
            "redirect to another host",
            "A link to the gateway leads to another host.",
            "`GET //other.example/graphql/`",
            get("//other.example/graphql/", key=None),
            Expected(404, "NOT_FOUND", without=("Location",)),
        ),
        Held(
            "A request that is not valid repeats a key in the answer or the log.",
            "a key in headers, addresses and bytes that are not HTTP",
            "400 `BAD_USER_INPUT` without the key",
            "tests/gateway/test_protocol.py::test_invalid_requests_have_the_shape_of_errors_and_are_not_repeated",
        ),
        Held(
            "A body is decoded by a coding that it does not have.",
            "gzip, deflate, br, zstd and repeated codings, whole and cut",
            "400 `BAD_USER_INPUT` or 415 `UNSUPPORTED_MEDIA_TYPE`",
            "tests/gateway/test_protocol.py::test_a_body_is_decoded_or_refused_with_a_code",
        ),
    ],
)

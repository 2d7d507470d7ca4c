import type { ExecutionResult } from "graphql";

// Subscriptions by the graphql-sse protocol, one connection each. EventSource can send no Authorization header.

interface ServerEvent {
  event: string;
  data: string;
}

function parsed(block: string): ServerEvent {
  const found: ServerEvent = { event: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^(event|data): ?(.*)$/.exec(line) ?? [];
    if (field === "event") found.event = value ?? "";
    if (field === "data") found.data += value ?? "";
  }
  return found;
}

async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + decoder.decode(value, { stream: true }).replaceAll("\r", "")).split("\n\n");
    rest = blocks.pop() ?? "";
    yield* blocks.map(parsed);
  }
}

/** Returning from the iterator closes the connection, even while the next event is waited for. */
export function subscribe(
  open: (signal: AbortSignal) => Promise<Response>,
  resultOf: (response: Response) => Promise<ExecutionResult>,
): AsyncIterableIterator<ExecutionResult> {
  const closing = new AbortController();

  async function* results(): AsyncGenerator<ExecutionResult, undefined> {
    try {
      const response = await open(closing.signal);
      if (!response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        yield await resultOf(response);
        return;
      }
      for await (const { event, data } of events(response.body)) {
        if (event === "complete") return;
        if (event === "next") yield JSON.parse(data) as ExecutionResult;
      }
    } catch (error) {
      if (!closing.signal.aborted) throw error;
    } finally {
      closing.abort();
    }
  }

  const running = results();
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => running.next(),
    return: async () => {
      closing.abort();
      return { done: true, value: undefined };
    },
  };
}

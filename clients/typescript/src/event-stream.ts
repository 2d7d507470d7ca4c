export interface StreamEvent {
  readonly kind: string;
  readonly data: string;
}

function eventOf(block: string): StreamEvent {
  const lines = block.split('\n');
  const values = (name: string) =>
    lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).replace(/^ /, ''));
  return { kind: values('event').at(-1) ?? 'message', data: values('data').join('\n') };
}

/**
 * The events of a response, by the graphql-sse protocol. An event that was cut off is dropped; `heard` is called with
 * every piece, heartbeats too.
 */
export async function* events(body: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<StreamEvent> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let text = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      // A line may end in \r\n, whose halves may come apart.
      text = (text + value).replace(/\r\n/g, '\n');
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const event = eventOf(block);
        if (event.kind !== 'message') yield event;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

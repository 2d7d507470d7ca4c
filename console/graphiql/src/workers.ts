// Imported before GraphiQL: the editor asks for its workers as soon as it is made.
// They are files of our own origin, so the page's policy needs no blob: addresses.

const addresses: Record<string, string> = { json: WORKERS.json, graphql: WORKERS.graphql };

Object.assign(globalThis, {
  MonacoEnvironment: {
    getWorker: (_id: string, label: string) => new Worker(addresses[label] ?? WORKERS.editor),
  },
});

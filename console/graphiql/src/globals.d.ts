// Put in by build.mjs.

interface Example {
  name: string;
  about: string;
  query: string;
  variables: Record<string, unknown>;
  /** Of the keys that may run it; null for all. */
  scopes: string[] | null;
}

declare const EXAMPLES: Example[];
declare const WORKERS: Record<"editor" | "json" | "graphql", string>;

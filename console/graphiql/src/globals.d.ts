// Put in by build.mjs.

interface Example {
  name: string;
  about: string;
  query: string;
  variables: string;
}

declare const EXAMPLES: Example[];
declare const WORKERS: Record<"editor" | "json" | "graphql", string>;

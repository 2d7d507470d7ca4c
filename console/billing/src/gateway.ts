import type { Operation } from "./operation";
import { key, signOut } from "./session";

/** The gateway's own refusal, with its code. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly requestId: string | null,
  ) {
    super(message);
  }
}

/** No answer came, or none that the gateway could have made: the network, a proxy, a restart. */
export class Unreachable extends Error {}

/** Whoever asked has no use for the answer any more: the key was changed, or a newer question took its place. */
export class Outdated extends Error {}

export interface Problem {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions?: { readonly code?: string };
}

export interface Answer<Result> {
  readonly data?: Result | null;
  readonly errors?: readonly Problem[];
}

/** The refusal; a key that was refused ends the session besides. */
function refusalOf(code: string | undefined, message: string, response: Response): Error {
  if (code !== "UNAUTHENTICATED") return new Refused(code ?? "INTERNAL", message, response.headers.get("X-Request-Id"));
  signOut(`The key was refused: ${message}.`);
  return new Outdated();
}

export async function post(path: string, body: unknown, bearer: string | null, signal?: AbortSignal): Promise<Response> {
  try {
    return await fetch(path, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/json",
        ...(bearer && { Authorization: `Bearer ${bearer}` }),
      },
      body: JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      signal: signal ?? null,
    });
  } catch (error) {
    if (signal?.aborted) throw new Outdated();
    throw new Unreachable("The billing service could not be reached.", { cause: error });
  }
}

async function parsed<Body>(response: Response): Promise<Body> {
  try {
    return (await response.json()) as Body;
  } catch (error) {
    throw new Unreachable(`The billing service answered with status ${response.status}.`, { cause: error });
  }
}

/** What a path beside GraphQL answers to the key. */
export async function postForKey<Body>(path: string, body: unknown): Promise<Body> {
  const bearer = key.peek();
  if (bearer === null) throw new Outdated();
  const response = await post(path, body, bearer);
  const found = await parsed<Body & { readonly error?: { readonly code: string; readonly message: string } }>(response);
  if (key.peek() !== bearer) throw new Outdated();
  if (found.error) throw refusalOf(found.error.code, found.error.message, response);
  return found;
}

/** What came of it with its first refusal, if any: a part of the data may be there all the same. */
export async function askPartly<Result, Variables>(
  { name, text }: Operation<Result, Variables>,
  variables: Variables,
  signal?: AbortSignal,
): Promise<{ data: Result | null; refused: Error | null }> {
  const bearer = key.peek();
  if (bearer === null) throw new Outdated();
  const response = await post("/graphql", { operationName: name, query: text, variables }, bearer, signal);
  const answer = await parsed<Answer<Result>>(response);
  if (signal?.aborted || key.peek() !== bearer) throw new Outdated();
  const [problem] = answer.errors ?? [];
  const refused = problem ? refusalOf(problem.extensions?.code, problem.message, response) : null;
  if (refused instanceof Outdated) throw refused;
  return { data: answer.data ?? null, refused };
}

/** The whole data, or what kept it from coming, thrown. */
export async function ask<Result, Variables>(
  operation: Operation<Result, Variables>,
  variables: Variables,
  signal?: AbortSignal,
): Promise<Result> {
  const { data, refused } = await askPartly(operation, variables, signal);
  if (refused) throw refused;
  if (data === null) throw new Unreachable("The billing service answered without data.");
  return data;
}

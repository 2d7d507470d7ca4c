import type { Operation } from "./operation";
import { requestBody, takeBegun } from "./firstquery";
import { Outdated, Unreachable, post } from "./post";
import { key, signOut } from "./session";
import { t } from "./texts/spoken";
import { noticeClock } from "./times";

/** The gateway's own refusal, with its code. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly requestId: string | null,
    /** Why, where the code is not enough to say it in the reader's language. */
    readonly reason?: string,
  ) {
    super(message);
  }
}

export interface Problem {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions?: { readonly code?: string; readonly reason?: string };
}

export interface Answer<Result> {
  readonly data?: Result | null;
  readonly errors?: readonly Problem[];
}

/** Says in words that no answer came. */
function said(error: unknown): never {
  throw error instanceof Unreachable ? new Unreachable(t.unreachable, { cause: error }) : error;
}

/** The refusal; a key that was refused ends the session besides. */
function refusalOf(code: string | undefined, message: string, response: Response, reason?: string): Error {
  if (code !== "UNAUTHENTICATED") {
    return new Refused(code ?? "INTERNAL", message, response.headers.get("X-Request-Id"), reason);
  }
  signOut(t.keyRefused(message));
  return new Outdated();
}

async function parsed<Body>(response: Response): Promise<Body> {
  try {
    return (await response.json()) as Body;
  } catch (error) {
    throw new Unreachable(t.status(response.status), { cause: error });
  }
}

/** What a path beside GraphQL answers to the key. */
export async function postForKey<Body>(path: string, body: unknown): Promise<Body> {
  const bearer = key.peek();
  if (bearer === null) throw new Outdated();
  const response = await post(path, JSON.stringify(body), bearer).catch(said);
  const found = await parsed<Body & { readonly error?: { readonly code: string; readonly message: string } }>(response);
  if (key.peek() !== bearer) throw new Outdated();
  if (found.error) throw refusalOf(found.error.code, found.error.message, response);
  return found;
}

/** What came of it with its first refusal, if any: a part of the data may be there all the same. */
export async function askPartly<Result, Variables>(
  operation: Operation<Result, Variables>,
  variables: Variables,
  signal?: AbortSignal,
): Promise<{ data: Result | null; refused: Error | null }> {
  const bearer = key.peek();
  if (bearer === null) throw new Outdated();
  const body = requestBody(operation, variables);
  const response = await (takeBegun(body, bearer) ?? post("/graphql", body, bearer, signal)).catch(said);
  noticeClock(response.headers.get("Date"));
  const answer = await parsed<Answer<Result>>(response);
  if (signal?.aborted || key.peek() !== bearer) throw new Outdated();
  const [problem] = answer.errors ?? [];
  const refused = problem ? refusalOf(problem.extensions?.code, problem.message, response, problem.extensions?.reason) : null;
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
  if (data === null) throw new Unreachable(t.noData);
  return data;
}

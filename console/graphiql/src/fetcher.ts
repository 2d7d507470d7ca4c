import type { Fetcher, FetcherOpts, FetcherParams } from "@graphiql/toolkit";
import { type ExecutionResult, getOperationAST } from "graphql";
import { subscribe } from "./events";

const ENDPOINT = "/graphql";
const JSON_TYPES = "application/graphql-response+json, application/json";

export type Answer = { accepted: true } | { accepted: false; message: string };

function failed(message: string): ExecutionResult {
  return { errors: [{ message }] } as unknown as ExecutionResult;
}

function request(key: string, accept: string, params: FetcherParams, signal?: AbortSignal): Promise<Response> {
  return fetch(ENDPOINT, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json", Accept: accept },
    body: JSON.stringify(params),
    credentials: "omit",
    cache: "no-store",
    redirect: "error",
    signal: signal ?? null,
  });
}

/** Whatever comes back as a GraphQL result, for the response pane to show. */
async function resultOf(response: Response): Promise<ExecutionResult> {
  const text = await response.text();
  try {
    return JSON.parse(text) as ExecutionResult;
  } catch {
    return failed(`${response.status} ${response.statusText}: ${text.slice(0, 500) || "an empty answer"}`);
  }
}

function isSubscription(params: FetcherParams, opts?: FetcherOpts): boolean {
  return (
    !!opts?.documentAST && getOperationAST(opts.documentAST, params.operationName)?.operation === "subscription"
  );
}

/** `answered` is told after each request whether the gateway took the key. */
export function fetcherFor(key: string | null, answered: (answer: Answer) => void): Fetcher {
  if (key === null) return () => failed("No API key: paste one into the box at the top of the page.");

  async function send(accept: string, params: FetcherParams, signal?: AbortSignal): Promise<Response> {
    const response = await request(key as string, accept, params, signal);
    if (response.status === 401) {
      const { errors } = await resultOf(response.clone());
      answered({ accepted: false, message: errors?.[0]?.message ?? "401 Unauthorized" });
    } else {
      answered({ accepted: true });
    }
    return response;
  }

  return async (params, opts) => {
    try {
      if (isSubscription(params, opts)) {
        return subscribe((signal) => send("text/event-stream", params, signal), resultOf);
      }
      return await resultOf(await send(JSON_TYPES, params));
    } catch (error) {
      return failed(`The gateway could not be reached: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
}

/** Asks quietly: what fails has no data, and the page goes on without it. */
export function askerFor(key: string): (query: string, variables?: Record<string, unknown>) => Promise<unknown> {
  return async (query, variables = {}) => {
    try {
      return (await resultOf(await request(key, JSON_TYPES, { query, variables }))).data;
    } catch {
      return null;
    }
  };
}

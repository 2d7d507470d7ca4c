// Questions to the gateway, as they go over the wire.

import { ReadPosition } from "../../../clients/typescript/src/read-position";

export const readPosition = new ReadPosition();

/** No answer came, or none that the gateway could have made: the network, a proxy, a restart. It has no words yet: the
 * first script knows none. */
export class Unreachable extends Error {}

/** Whoever asked has no use for the answer any more: the key was changed, or a newer question took its place. */
export class Outdated extends Error {}

/** `body` is JSON. */
export async function post(path: string, body: string, bearer: string | null, signal?: AbortSignal): Promise<Response> {
  const note = readPosition.begin();
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        Accept: "application/json",
        ...readPosition.headers,
        ...(bearer && { Authorization: `Bearer ${bearer}` }),
      },
      body,
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      signal: signal ?? null,
    });
    note(response);
    return response;
  } catch (error) {
    if (signal?.aborted) throw new Outdated();
    throw new Unreachable("", { cause: error });
  }
}

import { signal } from "@preact/signals";
import { ask } from "./gateway";
import type { Operation } from "./operation";
import { newKey } from "./payments";

// What keys that manage accounts change by hand.

/** Counts the changes of this page: lists of keys and of what was done are read again after each. */
export const changes = signal(0);

const sent = new Map<string, string>();

/** The same dialog with the same input is the same call, however often it is sent. */
function keyOf(dialog: string, input: object): string {
  const text = dialog + JSON.stringify(input);
  const known = sent.get(text) ?? newKey();
  sent.set(text, known);
  return known;
}

/** Sends the mutation. `dialog` is the key of the dialog in which the input was given. */
export async function act<Result, Input extends { readonly idempotencyKey: string }>(
  operation: Operation<Result, { readonly input: Input }>,
  dialog: string,
  input: Omit<Input, "idempotencyKey">,
): Promise<Result> {
  const given = { ...input, idempotencyKey: keyOf(dialog, input) } as unknown as Input;
  const answer = await ask(operation, { input: given });
  changes.value++;
  return answer;
}

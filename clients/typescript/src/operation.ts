/** An operation's text, with the types of its answer and its variables. */
export interface Operation<Data, Variables> {
  readonly kind: 'query' | 'mutation' | 'subscription';
  readonly name: string;
  readonly text: string;
  /** Types only: never there. */
  readonly types?: (variables: Variables) => Data;
}

export interface Query<Data, Variables> extends Operation<Data, Variables> {
  readonly kind: 'query';
}

export interface Mutation<Data, Variables> extends Operation<Data, Variables> {
  readonly kind: 'mutation';
}

export interface Subscription<Data, Variables> extends Operation<Data, Variables> {
  readonly kind: 'subscription';
}

/** Variables of a mutation, whose idempotency key the client makes if it is omitted. */
export type KeyOptional<Variables> = Variables extends { input: infer Input extends { idempotencyKey: string } }
  ? Omit<Variables, 'input'> & { input: Omit<Input, 'idempotencyKey'> & { idempotencyKey?: string } }
  : Variables;

/** An event of a subscription: `EventOf<typeof BalanceChanges>` is one change of the balance. */
export type EventOf<Of> = Of extends Operation<infer Data, never> ? Data[keyof Data] : never;

/** The same call with an idempotency key: a new one if it had none. */
export function withKey<Variables>(variables: KeyOptional<Variables>): Variables {
  const { input } = variables as { input?: { idempotencyKey?: string } };
  if (!input || input.idempotencyKey !== undefined) return variables as Variables;
  return { ...variables, input: { ...input, idempotencyKey: newKey() } } as Variables;
}

/** Random enough never to be made twice. `crypto.randomUUID` is missing on pages without TLS. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

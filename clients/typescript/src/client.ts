import { BillingError, dataOf, Internal, Lagged, NotFound, RateLimited, Unavailable } from './errors.js';
import { events } from './event-stream.js';
import {
  MoreTransactions,
  type MoreTransactionsQuery,
  type MoreTransactionsQueryVariables,
  Position,
} from './generated/operations.js';
import { type KeyOptional, type Mutation, type Operation, type Query, type Subscription, withKey } from './operation.js';
import { ReadPosition } from './read-position.js';

export interface Retries {
  readonly attempts: number;
  readonly firstMilliseconds: number;
  readonly maxMilliseconds: number;
}

export interface BillingClientOptions {
  /** The gateway's address, without /graphql. */
  readonly url: string;
  /** An API key, or a function for a key that changes. */
  readonly key: string | (() => string | Promise<string>);
  readonly retries?: Partial<Retries>;
  readonly timeoutMilliseconds?: number;
  /** In place of the global `fetch`. */
  readonly fetch?: typeof fetch;
}

/** A page of a list whose selection has `edges` and `pageInfo`. */
export interface Connection<Edge> {
  readonly edges: readonly Edge[];
  readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null };
}

/** One row of `transactions`, with its cursor. */
export type TransactionEdge = NonNullable<MoreTransactionsQuery['account']>['transactions']['edges'][number];

/** A stream that is silent for longer is opened anew: the gateway sends heartbeats every 20 seconds. */
const silenceMilliseconds = 60_000;

const json = 'application/graphql-response+json, application/json;q=0.9';

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, milliseconds);
    function done() {
      signal?.removeEventListener('abort', stopped);
      resolve();
    }
    function stopped() {
      clearTimeout(timer);
      reject(signal?.reason);
    }
    signal?.throwIfAborted();
    signal?.addEventListener('abort', stopped, { once: true });
  });
}

/** A failure on the way, as an error of the gateway. What is aborted by the caller stays as it is. */
function unavailable(failure: unknown, signal?: AbortSignal): unknown {
  if (failure instanceof BillingError || signal?.aborted) return failure;
  return new Unavailable('UNAVAILABLE', failure instanceof Error ? failure.message : String(failure));
}

export class BillingClient {
  readonly #url: string;
  readonly #key: BillingClientOptions['key'];
  readonly #retries: Retries;
  readonly #readPosition = new ReadPosition();
  readonly #timeout: number;
  readonly #fetch: typeof fetch;

  constructor({ url, key, retries, timeoutMilliseconds = 30_000, fetch = globalThis.fetch }: BillingClientOptions) {
    this.#url = `${url.replace(/\/+$/, '')}/graphql`;
    this.#key = key;
    this.#retries = { attempts: 5, firstMilliseconds: 250, maxMilliseconds: 30_000, ...retries };
    this.#timeout = timeoutMilliseconds;
    this.#fetch = (...given) => fetch(...given);
  }

  /**
   * Answers a query or mutation. Throws the BillingError of a refusal.
   *
   * What failed on the way is sent again. A mutation has one idempotency key in all attempts, so it is carried out
   * once; give a key of your own to send the same call again after a restart of your program.
   */
  async execute<Data, Variables>(
    operation: Query<Data, Variables> | Mutation<Data, Variables>,
    variables: KeyOptional<Variables>,
    signal?: AbortSignal,
  ): Promise<Data> {
    const given = operation.kind === 'mutation' ? withKey<Variables>(variables) : (variables as Variables);
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#ask(operation, given, signal);
      } catch (error) {
        const passes = error instanceof Unavailable || error instanceof RateLimited;
        if (!passes || failures >= this.#retries.attempts) throw error;
        await sleep(this.#pause(failures - 1, error), signal);
      }
    }
  }

  /**
   * The edges of a list, which are read page by page. `after` of the variables is where it begins: the cursor of the
   * last edge that was handled resumes it.
   */
  async *pages<Data, Variables extends { after?: string | null | undefined }, Edge>(
    operation: Query<Data, Variables>,
    variables: Variables,
    connection: (data: Data) => Connection<Edge> | null | undefined,
  ): AsyncGenerator<Edge> {
    for (let after = variables.after; ; ) {
      const page = connection(await this.execute(operation, { ...variables, after } as KeyOptional<Variables>));
      yield* page?.edges ?? [];
      if (!page?.pageInfo.hasNextPage) return;
      after = page.pageInfo.endCursor;
    }
  }

  /** The account's rows with their cursors, newest first. `after` resumes behind the row of that cursor. */
  transactions(variables: MoreTransactionsQueryVariables = {}): AsyncGenerator<TransactionEdge> {
    return this.pages(MoreTransactions, { first: 200, ...variables }, (data) => data.account?.transactions);
  }

  /**
   * The events of a subscription for ever, none missed: the stream is opened again after the last cursor whenever it
   * ends. Without `after` it begins at the moment of the call.
   *
   * Save the cursor of each event once it is handled, and begin there after a restart. Throws the BillingError of a
   * refusal that trying again does not help, and the signal's reason once it is aborted.
   */
  async *follow<
    Data extends object,
    Variables extends { account?: string | null | undefined; after?: string | null | undefined },
  >(
    subscription: Subscription<Data, Variables>,
    variables: Variables,
    signal?: AbortSignal,
  ): AsyncGenerator<Data[keyof Data] & { readonly cursor: string }> {
    let after = variables.after ?? (await this.#position(variables.account, signal));
    for (let failures = 0; ; failures += 1) {
      let pause: unknown;
      try {
        for await (const data of this.#stream(subscription, { ...variables, after }, signal)) {
          const [event] = Object.values(data) as (Data[keyof Data] & { readonly cursor: string })[];
          if (!event) continue;
          after = event.cursor;
          failures = 0;
          yield event;
        }
      } catch (error) {
        const passes = [Lagged, Unavailable, RateLimited, Internal].some((one) => error instanceof one);
        if (!passes) throw error;
        if (error instanceof Lagged) after = error.cursor;
        pause = error;
      }
      await sleep(this.#pause(failures, pause), signal);
    }
  }

  async #position(account: string | null | undefined, signal?: AbortSignal): Promise<string> {
    const found = await this.execute(Position, { account }, signal);
    if (!found.account) throw new NotFound('NOT_FOUND', 'the key has no account of its own: name one');
    return found.account.balanceCursor;
  }

  /** Milliseconds before the next attempt: at least what the gateway asks for, and spread beyond that. */
  #pause(failures: number, error: unknown): number {
    const asked = error instanceof BillingError ? (error.retryAfter ?? 0) * 1000 : 0;
    const { firstMilliseconds, maxMilliseconds } = this.#retries;
    return asked + Math.min(firstMilliseconds * 2 ** failures, maxMilliseconds) * (0.5 + Math.random() / 2);
  }

  async #open(operation: Operation<unknown, never>, variables: unknown, accept: string, signal: AbortSignal) {
    const key = typeof this.#key === 'string' ? this.#key : await this.#key();
    return this.#fetch(this.#url, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${key}`,
        Accept: accept,
        'Content-Type': 'application/json',
        ...this.#readPosition.headers,
      },
      body: JSON.stringify({ query: operation.text, operationName: operation.name, variables }),
      signal,
    });
  }

  async #ask<Data, Variables>(operation: Operation<Data, Variables>, variables: Variables, signal?: AbortSignal) {
    const limit = AbortSignal.timeout(this.#timeout);
    try {
      const ended = signal ? AbortSignal.any([signal, limit]) : limit;
      const note = this.#readPosition.begin();
      const response = await this.#open(operation, variables, json, ended);
      note(response);
      return dataOf<Data>(response, await response.text());
    } catch (failure) {
      throw unavailable(failure, signal);
    }
  }

  async *#stream<Data, Variables>(
    operation: Subscription<Data, Variables>,
    variables: unknown,
    signal?: AbortSignal,
  ): AsyncGenerator<Data> {
    const silence = new AbortController();
    const hush = () => silence.abort(new Error('the stream was silent'));
    let timer = setTimeout(hush, silenceMilliseconds);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(hush, silenceMilliseconds);
    };
    try {
      const ended = signal ? AbortSignal.any([signal, silence.signal]) : silence.signal;
      const response = await this.#open(operation, variables, 'text/event-stream', ended);
      if (!response.headers.get('Content-Type')?.startsWith('text/event-stream') || !response.body) {
        dataOf(response, await response.text());
        return;
      }
      for await (const { kind, data } of events(response.body, heard)) {
        if (kind === 'complete') return;
        this.#readPosition.noteEvent();
        yield dataOf<Data>(response, data);
      }
    } catch (failure) {
      throw unavailable(failure, signal);
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }
}

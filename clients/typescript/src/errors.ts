/** An entry of `errors[]`, as the gateway sends it. */
export interface SentError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions?: { readonly code?: string; readonly [name: string]: unknown };
}

/** The gateway refused an operation. `code` says why, also if this version of the client does not know the code. */
export class BillingError extends Error {
  readonly code: string;
  /** All errors of the answer. */
  readonly errors: readonly SentError[];
  /** Seconds to wait before the next attempt, if the gateway told. */
  readonly retryAfter: number | undefined;

  constructor(code: string, message: string, errors: readonly SentError[] = [], retryAfter?: number) {
    super(`${message} (${code})`);
    this.name = new.target.name;
    this.code = code;
    this.errors = errors;
    this.retryAfter = retryAfter ?? (errors[0]?.extensions?.retryAfter as number | undefined);
  }

  protected extension<Value>(name: string): Value {
    return this.errors[0]?.extensions?.[name] as Value;
  }
}

/** The key is missing, unknown, revoked or expired. */
export class Unauthenticated extends BillingError {}
/** The key does not allow the operation. */
export class Forbidden extends BillingError {}
/** There is no such object, or the key does not cover it. */
export class NotFound extends BillingError {}
/** A value was refused. */
export class BadUserInput extends BillingError {}
/** The cursor is of another list, or its row is not in the ledger any more. */
export class BadCursor extends BillingError {}
/** What was asked for needs rows that were moved to the archive, and is not answered from there. */
export class Archived extends BillingError {}
/** The state of the object does not allow the call. */
export class Conflict extends BillingError {}
/** The idempotency key was used for a call with other input. */
export class IdempotencyConflict extends BillingError {}
/** The balance does not cover the amount. */
export class InsufficientBalance extends BillingError {}
/** The payment was refused. */
export class PaymentFailed extends BillingError {}
/** The operation costs more than the gateway allows. */
export class QueryTooComplex extends BillingError {}
/** The key has spent its points, or too much is in progress. */
export class RateLimited extends BillingError {}
/** The gateway cannot be reached, or cannot reach its database. The client has tried again already. */
export class Unavailable extends BillingError {}
/** A defect of the gateway: quote the request id of the extensions. */
export class Internal extends BillingError {}
/** The request itself will not do: its document, type, size or method. */
export class RequestRefused extends BillingError {}

/** A spend limit does not allow the amount. */
export class LimitExceeded extends BillingError {
  /** Id of the spend limit. */
  get limit(): string {
    return this.extension('limit');
  }
  get remaining(): string {
    return this.extension('remaining');
  }
  get resetsAt(): string | null {
    return this.extension('resetsAt');
  }
}

/** The subscriber was too slow: the stream goes on after `cursor`. */
export class Lagged extends BillingError {
  get cursor(): string {
    return this.extension('cursor');
  }
}

/** The class of each code. */
export const classes: Readonly<Record<string, typeof BillingError>> = {
  ARCHIVED: Archived,
  BAD_CURSOR: BadCursor,
  BAD_USER_INPUT: BadUserInput,
  CONFLICT: Conflict,
  FORBIDDEN: Forbidden,
  GRAPHQL_PARSE_FAILED: RequestRefused,
  GRAPHQL_VALIDATION_FAILED: RequestRefused,
  IDEMPOTENCY_CONFLICT: IdempotencyConflict,
  INSUFFICIENT_BALANCE: InsufficientBalance,
  INTERNAL: Internal,
  LAGGED: Lagged,
  LIMIT_EXCEEDED: LimitExceeded,
  METHOD_NOT_ALLOWED: RequestRefused,
  NOT_FOUND: NotFound,
  PAYLOAD_TOO_LARGE: RequestRefused,
  PAYMENT_FAILED: PaymentFailed,
  PERSISTED_QUERY_NOT_FOUND: RequestRefused,
  PERSISTED_QUERY_NOT_SUPPORTED: RequestRefused,
  QUERY_TOO_COMPLEX: QueryTooComplex,
  RATE_LIMITED: RateLimited,
  REQUEST_TIMEOUT: Unavailable,
  UNAUTHENTICATED: Unauthenticated,
  UNAVAILABLE: Unavailable,
  UNSUPPORTED_MEDIA_TYPE: RequestRefused,
};

function coded(code: string, message: string, errors: readonly SentError[], retryAfter?: number): BillingError {
  return new (classes[code] ?? BillingError)(code, message, errors, retryAfter);
}

function codeOf(status: number): string {
  return { 401: 'UNAUTHENTICATED', 403: 'FORBIDDEN', 429: 'RATE_LIMITED' }[status] ?? 'UNAVAILABLE';
}

/** The data of an answer. Throws the BillingError of its errors, or of a status whose answer is not GraphQL's. */
export function dataOf<Data>(response: Response, text: string): Data {
  let body: { data?: Data | null; errors?: readonly SentError[] } = {};
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy's page.
  }
  const header = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  const retryAfter = Number.isNaN(header) ? undefined : header;
  const first = body.errors?.[0];
  if (first) throw coded(first.extensions?.code ?? 'INTERNAL', first.message, body.errors ?? [], retryAfter);
  if (body.data) return body.data;
  const message = `the answer has status ${response.status} and is not GraphQL: ${text.slice(0, 200)}`;
  throw coded(codeOf(response.status), message, [], retryAfter);
}

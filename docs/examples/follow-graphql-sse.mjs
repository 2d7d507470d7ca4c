// Follows an account's balance over server-sent events with graphql-sse: every row of its ledger, in order, whatever
// breaks.
//
//   npm ci
//   URL=http://127.0.0.1:8000 KEY=eco_… CURSOR_FILE=cursor.txt node follow-graphql-sse.mjs

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-sse';

const { URL: address = 'http://127.0.0.1:8000', KEY: key, CURSOR_FILE: cursorFile = 'cursor.txt' } = process.env;

const position = '{ account { balanceCursor } }';
const changes = `subscription Follow($after: String!) {
  balanceChanged(after: $after) {
    cursor
    balance
    transaction { id createdAt type amount balanceAfter description }
  }
}`;

const client = createClient({
  url: `${address}/graphql`,
  headers: () => ({ Authorization: `Bearer ${key}` }),
  // By itself the client would subscribe again with the variables that it was first given, and so from where it began.
  retryAttempts: 0,
});

function savedCursor() {
  try {
    return readFileSync(cursorFile, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function save(cursor) {
  writeFileSync(`${cursorFile}.new`, cursor);
  renameSync(`${cursorFile}.new`, cursorFile);
  return cursor;
}

// The first time: the position of now. From here on nothing is missed, even if this program is killed before it
// has seen a single row.
async function begin() {
  for await (const { data, errors } of client.iterate({ query: position })) {
    if (errors) throw errors;
    return save(data.account.balanceCursor);
  }
  throw new Error('no answer');
}

// Yours. If this program is killed between this and save(), the row comes once more: tell it by its id.
async function handle({ balance, transaction }) {
  process.stdout.write(`${JSON.stringify({ balance, transaction })}\n`);
}

// Whether the same request can succeed later. GraphQL errors come as an array, a refused request has a response.
function passes(reason) {
  if (Array.isArray(reason)) {
    return ['LAGGED', 'UNAVAILABLE', 'RATE_LIMITED', 'INTERNAL'].includes(reason[0].extensions?.code);
  }
  const status = reason?.response?.status;
  return !(status >= 400 && status < 500) || status === 429;
}

let after = savedCursor();
for (let failures = 0; ; failures += 1) {
  try {
    after ??= await begin();
    // What came before the connection was lost is handled before the loop is left.
    for await (const { data, errors } of client.iterate({ query: changes, variables: { after } })) {
      if (errors) throw errors;
      await handle(data.balanceChanged);
      after = save(data.balanceChanged.cursor);
      failures = 0;
    }
  } catch (reason) {
    const text = reason?.[0]?.message ?? reason?.message ?? String(reason);
    console.error(`${reason?.[0]?.extensions?.code ?? 'not connected'}: ${text}`);
    if (!passes(reason)) process.exit(1);
  }
  // Spread, so that not everybody comes back in the same moment.
  await sleep(Math.min(250 * 2 ** failures, 30_000) * (0.5 + Math.random() / 2));
}

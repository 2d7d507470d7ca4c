// Follows an account's balance over WebSocket with graphql-ws: every row of its ledger, in order, whatever breaks.
//
//   npm ci
//   URL=http://127.0.0.1:8000 KEY=eco_… CURSOR_FILE=cursor.txt node follow-graphql-ws.mjs

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const { URL: address = 'http://127.0.0.1:8000', KEY: key, CURSOR_FILE: cursorFile = 'cursor.txt' } = process.env;

const position = '{ account { balanceCursor } }';
const changes = `subscription Follow($after: String!) {
  balanceChanged(after: $after) {
    cursor
    balance
    transaction { id createdAt type amount balanceAfter description }
  }
}`;

let pongIsLate;
const client = createClient({
  url: `${address.replace(/^http/, 'ws')}/graphql`,
  webSocketImpl: WebSocket,
  connectionParams: () => ({ Authorization: `Bearer ${key}` }),
  // By itself the client would subscribe again with the variables that it was first given, and so from where it began.
  retryAttempts: 0,
  // A connection that died without a word is noticed by its silence.
  keepAlive: 10_000,
  on: {
    ping: (received) => {
      if (!received) pongIsLate = setTimeout(() => client.terminate(), 5_000);
    },
    pong: (received) => {
      if (received) clearTimeout(pongIsLate);
    },
    closed: () => clearTimeout(pongIsLate),
  },
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

// Whether the same request can succeed later. GraphQL errors come as an array, a closed socket has a code.
function passes(reason) {
  if (Array.isArray(reason)) {
    return ['LAGGED', 'UNAVAILABLE', 'RATE_LIMITED', 'INTERNAL'].includes(reason[0].extensions?.code);
  }
  return !(reason?.code >= 4400 && reason.code < 4499) || reason.code === 4408;
}

let after = savedCursor();
for (let failures = 0; ; failures += 1) {
  try {
    after ??= await begin();
    // A socket that is closed with 1000 is opened anew by the client itself, whatever its settings: it reads this again.
    const variables = { get after() { return after; } };
    // What came before the connection was lost is handled before the loop is left.
    for await (const { data, errors } of client.iterate({ query: changes, variables })) {
      if (errors) throw errors;
      await handle(data.balanceChanged);
      after = save(data.balanceChanged.cursor);
      failures = 0;
    }
  } catch (reason) {
    const text = reason?.[0]?.message ?? reason?.reason ?? reason?.message ?? String(reason);
    console.error(`${reason?.[0]?.extensions?.code ?? reason?.code ?? 'not connected'}: ${text}`);
    if (!passes(reason)) process.exit(1);
  }
  // Spread, so that not everybody comes back in the same moment.
  await sleep(Math.min(250 * 2 ** failures, 30_000) * (0.5 + Math.random() / 2));
}

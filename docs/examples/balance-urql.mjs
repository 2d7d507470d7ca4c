// Follows an account's balance with urql and its normalized cache, over server-sent events. A refusal is told by its
// code.
//
//   npm ci
//   URL=http://127.0.0.1:8000 KEY=eco_… node balance-urql.mjs

import { Client, fetchExchange, gql, subscriptionExchange } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { createClient } from 'graphql-sse';

const { URL: address = 'http://127.0.0.1:8000', KEY: key } = process.env;
const headers = { Authorization: `Bearer ${key}` };

const events = createClient({ url: `${address}/graphql`, headers, retryAttempts: Infinity });
const client = new Client({
  url: `${address}/graphql`,
  preferGetMethod: false,
  fetchOptions: { headers },
  exchanges: [
    // Days, totals and pages have no id of their own: they belong to their account.
    cacheExchange({ keys: { PageInfo: () => null } }),
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query, variables }) => ({
        subscribe: (sink) => ({ unsubscribe: events.subscribe({ query, variables }, sink) }),
      }),
    }),
  ],
});

const query = gql`
  query Balance {
    account {
      id
      balance
    }
  }
`;
const changes = gql`
  subscription Changes {
    balanceChanged {
      cursor
      account {
        id
        balance
      }
    }
  }
`;

client.query(query, {}).subscribe(({ data, error }) => {
  if (error) {
    // A refusal of the gateway has a code, whatever its HTTP status is; a connection that failed has none.
    console.log(error.graphQLErrors[0]?.extensions.code ?? String(error));
    process.exit(1);
  }
  console.log(data.account.balance);
});
// Without a cursor, the first event is the newest row: a cache needs no older ones.
client.subscription(changes, {}).subscribe(({ error }) => error && console.error(String(error)));

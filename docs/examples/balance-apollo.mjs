// Follows an account's balance with Apollo Client: its cache keeps the account by its id, so that each event brings the
// new balance to every query that shows the account. A refusal is told by its code.
//
//   npm ci
//   URL=http://127.0.0.1:8000 KEY=eco_… node balance-apollo.mjs

import { ApolloClient, ApolloLink, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { OperationTypeNode } from 'graphql';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const { URL: address = 'http://127.0.0.1:8000', KEY: key } = process.env;
const Authorization = `Bearer ${key}`;

const socket = createClient({
  url: `${address.replace(/^http/, 'ws')}/graphql`,
  webSocketImpl: WebSocket,
  connectionParams: { Authorization },
  retryAttempts: Infinity,
});
const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(socket),
    new HttpLink({ uri: `${address}/graphql`, headers: { Authorization } }),
  ),
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

try {
  await client.query({ query });
} catch (error) {
  // A refusal of the gateway has a code, whatever its HTTP status is; other errors are those of the connection.
  if (!CombinedGraphQLErrors.is(error)) throw error;
  console.log(error.errors[0].extensions.code);
  process.exit(1);
}

// Without a cursor, the first event is the newest row: a cache needs no older ones.
client.watchQuery({ query }).subscribe(({ data }) => console.log(data.account.balance));
client.subscribe({ query: changes }).subscribe({ error: (error) => console.error(String(error)) });

// Asks for an account's balance with Apollo Client, which names its query by its SHA-256 and sends the text only if the
// gateway does not know the name.
//
//   npm ci
//   URL=http://127.0.0.1:8000 KEY=eco_… node persisted-queries-apollo.mjs

import { createHash } from 'node:crypto';
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';

const { URL: address = 'http://127.0.0.1:8000', KEY: key } = process.env;

const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.from([
    new PersistedQueryLink({
      sha256: (text) => createHash('sha256').update(text).digest('hex'),
      // Answers to GET may be kept by the client, and asked for again by their ETag.
      useGETForHashedQueries: true,
    }),
    new HttpLink({ uri: `${address}/graphql`, headers: { Authorization: `Bearer ${key}` } }),
  ]),
});

const query = gql`
  query Balance {
    account {
      id
      balance
    }
  }
`;

for (const _ of [1, 2]) {
  const { data } = await client.query({ query, fetchPolicy: 'network-only' });
  console.log(data.account.balance);
}
client.stop();

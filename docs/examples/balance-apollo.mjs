// Reads an account's balance with Apollo Client, and tells a refusal by its code.
//
//   npm ci
//   URL=http://127.0.0.1:8000 KEY=eco_… node balance-apollo.mjs

import { ApolloClient, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from '@apollo/client';

const { URL: address = 'http://127.0.0.1:8000', KEY: key } = process.env;

const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: new HttpLink({ uri: `${address}/graphql`, headers: { Authorization: `Bearer ${key}` } }),
});

const query = gql`
  query Balance {
    account {
      id
      balance
    }
  }
`;

try {
  const { data } = await client.query({ query });
  console.log(data.account.balance);
} catch (error) {
  // A refusal of the gateway has a code, whatever its HTTP status is; other errors are those of the connection.
  if (!CombinedGraphQLErrors.is(error)) throw error;
  console.log(error.errors[0].extensions.code);
  process.exitCode = 1;
}
client.stop();

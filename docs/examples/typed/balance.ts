// Reads an account's balance and its newest rows, with types that graphql-codegen makes from the gateway's schema.
//
//   npm ci
//   URL=http://127.0.0.1:8000 KEY=eco_… npm run generate
//   npm run build
//   URL=http://127.0.0.1:8000 KEY=eco_… node built/balance.js

import { graphql } from './generated/gql.js';
import type { TypedDocumentString } from './generated/graphql.js';

const { URL: address = 'http://127.0.0.1:8000', KEY: key } = process.env;

const query = graphql(`
  query Balance($first: Int!) {
    account {
      id
      balance
      transactions(first: $first) {
        nodes {
          id
          amount
          description
        }
      }
    }
  }
`);

async function ask<Data, Variables>(document: TypedDocumentString<Data, Variables>, variables: Variables): Promise<Data> {
  const response = await fetch(`${address}/graphql`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ query: document.toString(), variables }),
  });
  const { data, errors } = (await response.json()) as { data?: Data; errors?: { extensions: { code: string } }[] };
  if (errors?.[0]) throw new Error(errors[0].extensions.code);
  return data as Data;
}

const { account } = await ask(query, { first: 3 });
console.log(account?.balance);
for (const { id, amount, description } of account?.transactions.nodes ?? []) console.log(id, amount, description);

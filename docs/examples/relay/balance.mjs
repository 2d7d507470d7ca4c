// Shows an account's newest rows with Relay, and follows its balance in Relay's store. A refusal is told by its code.
//
//   npm ci && npm run compile
//   URL=http://127.0.0.1:8000 KEY=eco_… node balance.mjs

import { createClient } from 'graphql-sse';
import relay from 'relay-runtime';
import query from './__generated__/operationsBalanceQuery.graphql.js';
import changes from './__generated__/operationsChangesSubscription.graphql.js';

const { Environment, Network, Observable, RecordSource, Store } = relay;
const { createOperationDescriptor, fetchQuery, requestSubscription } = relay;
const { URL: address = 'http://127.0.0.1:8000', KEY: key } = process.env;
const url = `${address}/graphql`;
const headers = { Authorization: `Bearer ${key}` };

async function fetchGraphQL({ text }, variables) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: JSON.stringify({ query: text, variables }),
  });
  const result = await response.json();
  // Relay would lose the code of a refusal.
  if (result.errors) throw Object.assign(new Error(result.errors[0].message), result.errors[0].extensions);
  return result;
}

const events = createClient({ url, headers, retryAttempts: Infinity });
const subscribe = ({ text }, variables) =>
  Observable.create((sink) => events.subscribe({ query: text, variables }, sink));

const environment = new Environment({
  network: Network.create(fetchGraphQL, subscribe),
  store: new Store(new RecordSource()),
});

const operation = createOperationDescriptor(query, {});
environment.retain(operation);
try {
  await fetchQuery(environment, query, {}).toPromise();
} catch (error) {
  console.log(error.code ?? String(error));
  process.exit(1);
}
const snapshot = environment.lookup(operation.fragment);
console.log(snapshot.data.account.balance);
for (const { node } of snapshot.data.account.transactions.edges) {
  console.error(node.id, node.amount, node.description);
}
// An event has the account with its new balance, which the store puts wherever the account is shown.
environment.subscribe(snapshot, ({ data }) => console.log(data.account.balance));
requestSubscription(environment, { subscription: changes, variables: {}, onError: (error) => console.error(String(error)) });

// Composes the billing gateway with a subgraph of instances, and asks both in one query.
//
//   npm ci
//   URL=http://127.0.0.1:8000 KEY=eco_… CHARGE=chg_2_1 node router.mjs
//
// The billing gateway runs with BILLING_FEDERATION=true. The subgraph of instances stands for one of yours.

import { ApolloGateway, IntrospectAndCompose, LocalGraphQLDataSource, RemoteGraphQLDataSource } from '@apollo/gateway';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { parse } from 'graphql';

const { URL: address = 'http://127.0.0.1:8000', KEY: key, CHARGE: charge = 'chg_1_1' } = process.env;

const typeDefs = parse(`
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])

  type Query {
    instances: [Instance!]!
  }

  type Instance @key(fields: "id") {
    id: ID!
    charge: Charge
    account: Account!
  }

  type Charge @key(fields: "id", resolvable: false) {
    id: ID!
  }

  type Account @key(fields: "id") {
    id: ID!
    instances: [Instance!]!
  }
`);

const account = `acct_${charge.split('_')[1]}`;
const instances = [{ id: 'gpu-132', charge: { id: charge }, account: { id: account } }];
const resolvers = { Query: { instances: () => instances }, Account: { instances: () => instances } };
const ownSchema = buildSubgraphSchema({ typeDefs, resolvers });

/** The caller's key goes with each request: the billing gateway decides what it may see. */
class Billing extends RemoteGraphQLDataSource {
  willSendRequest({ request, context }) {
    request.http?.headers.set('Authorization', `Bearer ${context.key ?? key}`);
  }
}

const gateway = new ApolloGateway({
  supergraphSdl: new IntrospectAndCompose({
    subgraphs: [
      { name: 'billing', url: `${address}/graphql` },
      { name: 'instances', url: 'http://instances.invalid' },
    ],
  }),
  buildService: ({ name, url }) =>
    name === 'billing' ? new Billing({ url }) : new LocalGraphQLDataSource(ownSchema),
});

const text = `{
  instances { id charge { id net state } account { id name balance } }
  account { balance instances { id charge { refId } } }
}`;

const { schema, executor } = await gateway.load();
const { data, errors } = await executor({
  document: parse(text),
  request: { query: text, variables: {} },
  queryHash: 'one',
  context: { key },
  metrics: {},
  schema,
  cache: undefined,
  logger: console,
});
if (errors) throw errors[0];
console.log(JSON.stringify(data));
await gateway.stop();

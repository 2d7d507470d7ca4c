// What relay-compiler reads: it writes an artifact of each operation to __generated__.

import { graphql } from 'relay-runtime';

export const query = graphql`
  query operationsBalanceQuery {
    account {
      id
      balance
      transactions(first: 10) @connection(key: "operations_transactions") {
        edges {
          node {
            id
            amount
            description
          }
        }
      }
    }
  }
`;

export const changes = graphql`
  subscription operationsChangesSubscription {
    balanceChanged {
      cursor
      account {
        id
        balance
      }
    }
  }
`;

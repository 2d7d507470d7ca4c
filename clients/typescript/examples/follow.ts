// Lists the newest rows, grants a bonus and follows the balance from a saved cursor on.
import { readFile, writeFile } from 'node:fs/promises';
import { BalanceChanges, BillingClient, GrantBonus, InsufficientBalance, OpenHold } from '../src/index.js';

const { URL: url = 'http://127.0.0.1:8000', KEY: key = '' } = process.env;
const client = new BillingClient({ url, key });
const account = 'acct_1';

for await (const { node } of client.transactions({ account, filter: { types: ['GPU_USAGE'] } })) {
  console.log(node.id, node.amount, node.description);
}

// The idempotency key is made once, for all attempts.
const { grantBonus } = await client.execute(GrantBonus, {
  input: { accountId: account, amount: '5.00', promotion: 'launch' },
});
console.log(grantBonus.balance);

try {
  const hour = { periodStart: '2026-11-01T09:00:00Z', periodEnd: '2026-11-01T10:00:00Z' };
  const hold = { accountId: account, refType: 'GPU_INSTANCE', refId: '132', amount: '2.49', ...hour } as const;
  // With a key of your own, the call can be sent again after a restart.
  await client.execute(OpenHold, { input: { ...hold, idempotencyKey: 'gpu-132-start' } });
} catch (error) {
  if (!(error instanceof InsufficientBalance)) throw error;
  console.log('it must not start');
}

const after = await readFile('cursor.txt', 'utf8').catch(() => undefined);
for await (const { balance, cursor, transaction } of client.follow(BalanceChanges, { account, after })) {
  console.log(transaction.id, balance);
  await writeFile('cursor.txt', cursor);
}

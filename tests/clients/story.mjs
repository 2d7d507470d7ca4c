// The TypeScript client with the gateway of tests/clients/conftest.py: prints what it saw as JSON.
import {
  BalanceChanges,
  BillingClient,
  GrantBonus,
  OpenHold,
  SetSpendLimit,
  TransactionDetail,
  Viewer,
  classes,
} from '../../clients/typescript/dist/index.js';

const { URL: url, ACCOUNT: account, MANAGE_KEY, SERVICE_KEY, UNKNOWN } = process.env;
const retries = { firstMilliseconds: 10 };
const reader = new BillingClient({ url, key: MANAGE_KEY, retries });
const service = new BillingClient({ url, key: async () => SERVICE_KEY, retries });
const stranger = new BillingClient({ url, key: UNKNOWN });
const lost = new BillingClient({ url: 'http://127.0.0.1:9', key: UNKNOWN, retries: { ...retries, attempts: 2 } });

async function refusal(call) {
  try {
    await call();
    return 'none';
  } catch ({ name, code, limit, remaining, resetsAt }) {
    return { name, code, ...(limit && { limit, remaining, resets: typeof resetsAt }) };
  }
}

async function descriptions(variables) {
  const found = [];
  for await (const edge of reader.transactions(variables)) found.push(edge);
  return found;
}

async function follow(count) {
  const stop = new AbortController();
  const found = [];
  try {
    for await (const { balance, transaction } of reader.follow(BalanceChanges, {}, stop.signal)) {
      found.push([transaction.id, balance]);
      // Ended by its signal, while it waits for the next event.
      if (found.length === count) setTimeout(() => stop.abort(new Error('enough')), 10);
    }
  } catch (reason) {
    return [...found, reason.message];
  }
}

function hold(amount) {
  const period = { periodStart: '2026-11-01T00:00:00Z', periodEnd: '2026-11-01T01:00:00Z' };
  return { input: { accountId: account, refType: 'GPU_INSTANCE', refId: '1', amount, ...period } };
}

const rows = await descriptions({ first: 50 });
const resumed = await descriptions({ first: 50, after: rows[59].cursor });
const following = follow(3);
await new Promise((resolve) => setTimeout(resolve, 300));
const bonuses = [];
for (const promotion of ['one', 'two', 'three']) {
  const { grantBonus } = await service.execute(GrantBonus, { input: { accountId: account, amount: '0.50', promotion } });
  bonuses.push([grantBonus.transactions[0].id, grantBonus.replayed]);
}
const events = await following;
const { transaction } = await reader.execute(TransactionDetail, { id: bonuses[0][0] });
const poor = await refusal(() => service.execute(OpenHold, hold('1000')));
const set = await reader.execute(SetSpendLimit, { input: { amount: '0.25', window: 'DAY' } });
console.log(
  JSON.stringify({
    rows: rows.map(({ node }) => node.description),
    resumed: resumed.map(({ node }) => node.description),
    bonuses,
    events,
    amount: transaction.amount,
    refusals: [
      poor,
      await refusal(() => service.execute(OpenHold, hold('1'))),
      await refusal(() => reader.execute(TransactionDetail, { id: 'txn_999_1' })),
      await refusal(() => stranger.execute(Viewer, {})),
      await refusal(() => stranger.follow(BalanceChanges, { after: 'none' }).next()),
      await refusal(() => lost.execute(Viewer, {})),
    ],
    limit: set.setSpendLimit.spendLimit.id,
    codes: Object.keys(classes),
  }),
);

// What is fetched for keys that manage accounts: one part, for two would split what they share with the page.
export { Acts, Desk } from "./desk";
export { KeysPanel } from "./keyspanel";
export { RechargeForm, TopUpForm } from "./payingforms";
export { StatementPart } from "./statementpart";

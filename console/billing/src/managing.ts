// What is fetched for keys that manage accounts: one part, for two would split what they share with the page.
export { Choosing, SwitchBox } from "./choosing";
export { KeysPanel } from "./keyspanel";
export { RechargeForm, TopUpForm } from "./payingforms";
export { StatementPart } from "./statementpart";

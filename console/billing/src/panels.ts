// What is fetched when one of these tabs is first shown, or when the month bars are first looked at.

export { CostsPanel } from "./costspanel";
export { loadMonthKinds } from "./monthcosts";
export { ResourcesPanel } from "./resourcespanel";
export { UsagePanel } from "./usagepanel";

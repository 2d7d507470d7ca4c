// What is fetched when one of these tabs is first shown, a row is first opened or the month bars are first looked at.

export { CostsPanel } from "./costspanel";
export { Detail } from "./detail";
export { loadMonthKinds } from "./monthcosts";
export { ResourcesPanel } from "./resourcespanel";
export { Sought } from "./sought";
export { UsagePanel } from "./usagepanel";

// What is fetched when one of these tabs is first shown, a row is first opened or a row comes into a filtered list.

export { CostsPanel } from "./costspanel";
export { Detail } from "./detail";
export { matches } from "./matching";
export { ResourcesPanel } from "./resourcespanel";
export { Sought } from "./sought";
export { UsagePanel } from "./usagepanel";

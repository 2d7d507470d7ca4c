export { p } from "./spoken";

export { m } from "./spoken";

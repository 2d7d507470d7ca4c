import { type Managing, managing } from "./en/managing";
import { spoken } from "./spoken";

/** The texts of what keys that manage accounts get. */
export const m: Managing = spoken?.managing ?? managing;

import type { ComponentChildren } from "preact";

/** A count that decides on a plural. */
export type Count = string | bigint | number;

/** A piece of a text: words, or what the page puts between them. */
export type Part = ComponentChildren;

/** A text for each plural that the language has, with `#` where the count stands. */
export type Forms = Partial<Record<Intl.LDMLPluralRule, string>> & { readonly other: string };

import { Refused } from "../gateway";
import { english } from "../language";

/** What is wrong: said by the page, or by the gateway, which says it in English. */
export type Complaint = string | Error;

/** The language of what an error says, where it is another one than the page's. */
export function languageIn(error: Complaint): string | undefined {
  return error instanceof Refused ? english : undefined;
}

/** Says what is wrong; nothing for "". */
export function Complained({ of }: { readonly of: Complaint }) {
  if (!of) return null;
  return (
    <p class="error" role="alert" lang={languageIn(of)}>
      {typeof of === "string" ? of : of.message}
    </p>
  );
}

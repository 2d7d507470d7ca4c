import { english } from "../language";
import { t } from "../texts/spoken";

/** The way to the page that explains billing. It is in English. */
export function Guide() {
  return (
    <a href="/console/how-billing-works" hreflang={english}>
      {t.guide}
    </a>
  );
}

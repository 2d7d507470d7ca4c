import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { LANGUAGES, type Language, keepLanguage, language } from "../language";
import { address, go } from "../navigation";
import { t } from "../texts/spoken";

/** The page is opened anew, in the language that is kept, or else in that of the address. */
function choose(chosen: Language): void {
  const { transaction } = address.peek();
  go({ language: keepLanguage(chosen) ? null : chosen, transaction }, { replace: true });
  location.reload();
}

/** The other languages are named when the page has been drawn: a browser looks for a font that has the Japanese name,
 * which takes it as long as to lay a third of the rows out. */
const SOON_MS = 800;

export function LanguageChoice() {
  const isWhole = useSignal(false);
  const complete = () => void (isWhole.value = true);
  useEffect(() => {
    const soon = setTimeout(complete, SOON_MS);
    return () => clearTimeout(soon);
  }, []);
  const offered = Object.entries(LANGUAGES).filter(([word]) => isWhole.value || word === language);
  return (
    <select
      class="language"
      aria-label={t.language}
      value={language}
      onFocus={complete}
      onPointerDown={complete}
      onChange={(event) => choose(event.currentTarget.value as Language)}
    >
      {offered.map(([word, name]) => (
        <option key={word} value={word} lang={word}>
          {name}
        </option>
      ))}
    </select>
  );
}

import { LANGUAGES, type Language, keepLanguage, language } from "../language";
import { address, go } from "../navigation";
import { t } from "../texts/spoken";

/** The page is opened anew, in the language that is kept, or else in that of the address. */
function choose(chosen: Language): void {
  const { transaction } = address.peek();
  go({ language: keepLanguage(chosen) ? null : chosen, transaction }, { replace: true });
  location.reload();
}

export function LanguageChoice() {
  return (
    <select
      class="language"
      aria-label={t.language}
      value={language}
      onChange={(event) => choose(event.currentTarget.value as Language)}
    >
      {Object.entries(LANGUAGES).map(([word, name]) => (
        <option key={word} value={word} lang={word}>
          {name}
        </option>
      ))}
    </select>
  );
}

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { isChoosing, printAll } from "./printing";
import { lateTexts, t } from "./texts/spoken";

const part = signal<ComponentType | null>(null);

/** The dialog is fetched with the other forms, when one is first wanted. */
async function choose(): Promise<void> {
  const [{ StatementPart }] = await Promise.all([import("./managing"), lateTexts()]);
  part.value = StatementPart;
  isChoosing.value = true;
}

export function StatementButtons() {
  return (
    <>
      <button type="button" onClick={() => void choose()}>
        {t.statementOf}
      </button>
      <button type="button" onClick={() => void printAll()}>
        {t.print}
      </button>
    </>
  );
}

/** The dialog, and what stands on paper of the statement that was chosen. */
export function Statements() {
  const { value: Part } = part;
  return Part && <Part />;
}

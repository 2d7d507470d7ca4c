// First of all: it reads nothing that the browser keeps on disk.
import "./firstquery";
import { storedKey } from "../../shared/key";
import { language } from "./language";
import type { Catalogue } from "./texts/catalogue";

// A small script of its own, before the page's: what the page opens with is asked for while the browser still reads
// the rest, and the shape in index.html is shown meanwhile.

/** Lists show every digit of amounts, because this browser was told to. */
export function storedExactness(): boolean {
  try {
    return localStorage.getItem("billing.exact") === "yes";
  } catch {
    return false;
  }
}

export function showCents(shown: boolean): void {
  document.documentElement.classList.toggle("cents", shown);
}

/** The texts, asked for as early; null for English, and where they can't be had. */
function catalogueOf(): Promise<Catalogue | null> {
  const found = { en: null, de: () => import("./texts/de"), ja: () => import("./texts/ja") }[language];
  return found ? found().then(({ catalogue }) => catalogue, () => null) : Promise.resolve(null);
}

document.documentElement.classList.toggle("opening", storedKey() !== null || location.hash !== "");
showCents(!storedExactness());
export const catalogue = catalogueOf();

import { Unreachable, post } from "./post";
import { signIn, signOut } from "./session";
import { t } from "./texts/spoken";

/** The code of a link that signs in: behind the #, which browsers send to nobody. */
const CODE = /^#code=([\w-]+)$/;

/** A browser that prepares a page which nobody has opened yet must not use the link up. */
async function opened(): Promise<void> {
  if ((document as { prerendering?: boolean }).prerendering)
    await new Promise((resolve) => document.addEventListener("prerenderingchange", resolve, { once: true }));
}

async function keyFor(code: string): Promise<string | null> {
  const response = await post("/console/sign-in", JSON.stringify({ code }), null);
  return response.ok ? ((await response.json()) as { key: string }).key : null;
}

/** Signs in by the address's code, if it has one. The code leaves the address, and so the history, at once. */
export async function followLink(): Promise<void> {
  const [, code] = CODE.exec(location.hash) ?? [];
  if (code === undefined) return;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    await opened();
    const key = await keyFor(code);
    if (key !== null) signIn(key);
    else signOut(t.linkUsed);
  } catch (error) {
    signOut(error instanceof Unreachable ? t.unreachable : t.linkFailed);
  }
}

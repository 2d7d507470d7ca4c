import { signal } from "@preact/signals";

const dark = matchMedia("(prefers-color-scheme: dark)");

/** For what is drawn by script: style sheets ask for themselves. */
export const isDark = signal(dark.matches);

dark.addEventListener("change", () => (isDark.value = dark.matches));
